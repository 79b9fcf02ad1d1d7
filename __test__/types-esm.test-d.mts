// Compiled, never run: `import` sees what `require` sees.
import conflux from '../index.mjs'

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
