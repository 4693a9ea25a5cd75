import { Type, type Static } from 'typebox'

/** What a socket may ask for in the address with which it connects. */
export const Handshake = Type.Object({
  thread_id: Type.Optional(Type.String({ description: 'A thread of the user, in which the connection starts' })),
  after: Type.Optional(Type.Integer({
    minimum: 0, description: 'The last sequence of that thread that the client has seen: what came after it is sent first'
  })),
  epoch: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'The epoch that `after` is of' })),
  replaces: Type.Optional(Type.String({ description: 'A connection of the user that the client has lost: it is closed with 4409, and counts no more' })),
  ticket: Type.Optional(Type.String({ description: 'A ticket of POST /v1/tickets, where no header can be set' }))
})
export type Handshake = Static<typeof Handshake>
