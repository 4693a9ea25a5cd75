import type { Rule } from 'eslint'

/** How a project calls the things that the rules look for; what it gives is added to the defaults. */
export interface Names {
  /** Functions that read the active identity, or need one. */
  readonly readers: ReadonlySet<string>
  /** Functions that tie a function or an iterable to the context that is active when they are called. */
  readonly binders: ReadonlySet<string>
  /** Functions whose callback runs in an identity that they enter themselves. */
  readonly enterers: ReadonlySet<string>
  /** Functions to which the body of an agent or a tool is given. */
  readonly definers: ReadonlySet<string>
  /** Methods that keep a listener, to be called by somebody else later. */
  readonly methods: ReadonlySet<string>
  /** Whether in scoped code a call of a function from another file of the project counts as reading. */
  readonly strict: boolean
  /** Whether the whole file is scoped code. */
  readonly scoped: boolean
}

const defaults = {
  readers: ['currentThread', 'tryCurrentThread', 'currentIdentity', 'tryCurrentIdentity', 'currentRun', 'childRequest', 'guard'],
  binders: ['bindThread', 'bindIterable', 'bind', 'snapshot', 'runInAsyncScope'],
  enterers: ['enterThread'],
  definers: ['defineAgent', 'defineTool'],
  methods: ['on', 'once', 'addListener', 'prependListener', 'prependOnceListener', 'addEventListener', 'subscribe']
} as const

const list = (description: string) => ({ type: 'array', items: { type: 'string' }, uniqueItems: true, description } as const)

export const schema = [{
  type: 'object',
  additionalProperties: false,
  properties: {
    readers: list('Further functions that read the active identity'),
    binders: list('Further functions that bind what they are given to the active context'),
    enterers: list('Further functions whose callback runs in an identity of its own'),
    definers: list('Further functions that take the body of an agent or a tool'),
    methods: list('Further methods that keep a listener or a callback'),
    strict: { type: 'boolean', description: 'In scoped code, functions of other files count as readers' },
    scoped: { type: 'boolean', description: 'The whole file is scoped code' }
  }
}] as const satisfies readonly object[]

type Given = { readonly [Name in keyof typeof defaults]?: readonly string[] } & { readonly strict?: boolean, readonly scoped?: boolean }

export function readNames (context: Rule.RuleContext): Names {
  const given = (context.options[0] ?? {}) as Given // checked by the schema
  const names = (name: keyof typeof defaults): ReadonlySet<string> => new Set([...defaults[name], ...given[name] ?? []])
  return {
    readers: names('readers'),
    binders: names('binders'),
    enterers: names('enterers'),
    definers: names('definers'),
    methods: names('methods'),
    strict: given.strict ?? false,
    scoped: given.scoped ?? false
  }
}
