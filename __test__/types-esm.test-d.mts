// Compiled, never run: `import` sees what `require` sees.
import conflux, { isPerformError } from '../index.mjs'

const node: conflux.Node<string[], { append(thing: string): string }> = conflux({
  id: 'a',
  clusterSize: 1,
  channel: { name: 'memory' },
  methods: {
    append(thing: string) {
      return thing
    }
  },
  reduce(state: string[] = [], action) {
    return action === null ? state : state.concat(action)
  }
})

export const action: string = await node.perform('append', ['a'])
// @ts-expect-error a string is needed
await node.perform('append', [1])

// The types have names of their own, as in CommonJS.
import type { ErrorCode, Node, Options, PerformError, Status } from '../index.mjs'

export const named: Node<string[], { append(thing: string): string }> = node
export const status: Status = node.status()
export const codeOf = (error: PerformError): string => error.code
export const busy: ErrorCode = 'ERR_CONFLUX_BUSY'
export type Counter = Options<number, { add(n: number): number }>
export const isOurs: boolean = conflux.isPerformError(new Error('not ours'))

export function outcomeOf(error: unknown): 'refused' | 'not-applied' | 'unknown' | undefined {
  return isPerformError(error) ? error.outcome : undefined
}
