// Compiled, never run: recipes, the application's own part and their clients know each other's types.
import conflux = require('..')
import { compose, flags, locks, presence, registry } from '../recipes'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
declare function expect<Expected>(): {
  toBe<Actual>(actual: Actual, ...proof: Equal<Actual, Expected> extends true ? [] : [never]): void
}

const base = { id: 'a', clusterSize: 1, channel: { name: 'memory' } } as const

// Recipes alone.
const alone = conflux({ ...base, ...compose({ locks: locks(), features: flags() }) })
const mutex = locks.client(alone, 'locks')
expect<number>().toBe(alone.getState().features.version)
flags.client(alone, 'features').set('dark', true)
// @ts-expect-error there is no such key
locks.client(alone, 'mutexes')
// @ts-expect-error these are flags
locks.client(alone, 'features')
// @ts-expect-error there is no such method
alone.perform('locks/take', ['a', {}])
alone.perform('locks/release', ['a', 'b'])
alone.subscribe(({ action }) => {
  if (action?.type === 'features/SET') expect<string>().toBe(action.name)
})

// Beside the application's own part.
const node = conflux({
  ...base,
  ...compose(
    { locks: locks(), online: presence(), services: registry() },
    {
      initialState: [] as string[],
      methods: {
        append(text: string) {
          return this.getProvisionalState().app.includes(text) ? null : { type: 'APPENDED' as const, text }
        }
      },
      reduce(texts, action) {
        expect<'APPENDED'>().toBe(action.type)
        return [...texts, action.text]
      }
    }
  )
})
expect<string[]>().toBe(node.getState().app)
expect<'presence/1'>().toBe(node.getState().online.recipe)
node.perform('append', ['milk'])
// @ts-expect-error a string is needed
node.perform('append', [1])
node.subscribe(({ action }) => {
  if (action?.type === 'APPENDED') expect<string>().toBe(action.text)
})

// A reducer that makes the initial state.
const counted = conflux({
  ...base,
  ...compose(
    { locks: locks() },
    {
      methods: { add: (n: number) => n },
      reduce: (sum: number | undefined, n) => (sum ?? 0) + (n ?? 0)
    }
  )
})
expect<number>().toBe(counted.getState().app)
counted.perform('add', [1])

async function use() {
  expect<string>().toBe(await mutex.run('a', { maxWait: 10, mode: 'read' }, async lock => lock.key))
  const lock = await mutex.acquire('a', { limit: 3, permits: 2, duration: 100 })
  expect<number>().toBe(lock.token)
  expect<boolean>().toBe(await lock.release())
  // @ts-expect-error there is no such mode
  await mutex.acquire('a', { mode: 'exclusive' })
  expect<boolean>().toBe(flags.client(alone, 'features').get('dark', false))
  expect<string | undefined>().toBe(registry.client(node, 'services').owner('key', 'web')?.id)
}
use()

// @ts-expect-error the key of the application's own part
conflux({ ...base, ...compose({ locks }) })
