// Shows that provisional states are committed in their order, however many of them wait.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { Store } = require('../lib/store')

const application = {
  initialState: () => ({ n: 0 }),
  reduce(state, action) {
    if (action.add === null) throw new Error('refused')
    return { n: state.n + action.add }
  }
}

/** Evaluates and commits so many at a time, in turns, until so many are evaluated. */
function run(store, total, evaluated, committed) {
  let [next, oldest] = [1, 1]
  while (oldest <= total) {
    for (let i = 0; i < evaluated && next <= total; i++, next++) store.evaluate({ add: next }, `${next}`)
    for (let i = 0; i < committed && oldest < next; i++, oldest++) {
      assert.equal(store.newest.n, ((next - 1) * next) / 2)
      assert.equal(store.oldestText, `${oldest}`)
      assert.deepEqual(store.commitOldest(), { add: oldest })
      assert.equal(store.committed.n, (oldest * (oldest + 1)) / 2)
    }
  }
  return store
}

test('states are committed in their order', () => {
  for (const [evaluated, committed] of [
    [1, 1],
    [10_000, 10_000],
    [3000, 700],
    [5000, 4096],
    [20_000, 1]
  ]) {
    const store = run(new Store(application), 20_000, evaluated, committed)
    assert.equal(store.newest, store.committed)
    assert.throws(() => store.commitOldest(), /is not there/)
  }
})

test('what is dropped, and what the reducer refuses, leaves nothing behind', () => {
  const store = new Store(application)
  for (let i = 0; i < 6000; i++) store.evaluate({ add: 1 }, '1')
  for (let i = 0; i < 5000; i++) store.commitOldest()
  assert.throws(() => store.evaluate({ add: null }, 'null'), /refused/)
  assert.equal(store.newest.n, 6000)
  store.dropProvisional()
  assert.equal(store.newest, store.committed)
  store.commit({ add: 2 })
  store.evaluate({ add: 3 }, '3')
  assert.deepEqual([store.committed.n, store.newest.n], [5002, 5005])
  store.restore({ n: 9 })
  assert.deepEqual([store.committed.n, store.newest.n], [9, 9])
})
