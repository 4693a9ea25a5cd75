import type { CommandType } from '../../../lib/protocol/commands.ts'
import type { ServerEvent } from '../../../lib/protocol/events.ts'
import type { TestSocket } from '../test-socket.ts'
import { commandEntries } from './command-entries.ts'
import type { Call } from './call.ts'
import { httpEntries } from './http-entries.ts'
import type { Ids } from './ids.ts'

/** An operation of the HTTP contract. */
export interface Operation {
  readonly operationId: string
  readonly method: string
  readonly path: string
  readonly isPublic: boolean
}

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly operationId: string, readonly security?: readonly unknown[] }>>>>
}

/** Every operation that an OpenAPI document tells of. */
export function operationsOf ({ paths }: OpenApi): readonly Operation[] {
  return Object.entries(paths).flatMap(([path, item]) => Object.entries(item).map(([method, { operationId, security }]) => ({
    operationId, method: method.toUpperCase(), path, isPublic: security?.length === 0
  })))
}

/** The requests by which an operation is called, each to be made of somebody's ids. */
export function requestsOf ({ operationId, method, path }: Operation): readonly ((ids: Ids) => Call)[] {
  const { inputs = [], upgrade } = httpEntries[operationId] ?? {}
  return inputs.map((input) => (ids) => {
    const { params = {}, query = {}, body, headers } = input(ids)
    const address = path.replaceAll(/\{(\w+)\}/g, (_braces, name: string) => encodeURIComponent(params[name] ?? ''))
    const search = new URLSearchParams(query).toString()
    return { method, path: search === '' ? address : `${address}?${search}`, body, headers, upgrade }
  })
}

/** The frames by which a command is sent, each to be made of somebody's ids. */
export function framesOf (type: CommandType): readonly ((ids: Ids) => Frame)[] {
  return commandEntries[type].map((payload, index) => (ids) => ({ type, id: `${type}-${index}`, thread_id: ids.frame, payload: payload(ids) }))
}

interface Frame { readonly type: CommandType, readonly [field: string]: unknown }

/** Sends a frame, and resolves with everything that the connection is told until the server has done with it. */
export async function exchange (socket: TestSocket, frame: { readonly type: string }): Promise<readonly ServerEvent[]> {
  const from = socket.events.length
  socket.send(frame)
  const pong = await socket.ask({ type: 'ping', payload: {} })
  return socket.events.slice(from).filter((event) => event !== pong)
}
