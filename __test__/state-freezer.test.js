// Shows that what the check of an action skips is frozen later, in slices, and that no check lists a huge container.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { Application } = require('../lib/application')
const { Restoring } = require('../lib/snapshot')
const { StateCheck } = require('../lib/state-check')
const { StateFreezer } = require('../lib/state-freezer')
const { Walk } = require('../lib/state-walk')
const { until } = require('./nodes')

const record = i => ({ id: i, tags: ['a', { b: i }] })
const records = count => Array.from({ length: count }, (_, i) => record(i))
const members = count => Object.fromEntries(records(count).map(one => [`key ${one.id}`, one]))

function isDeeplyFrozen(value) {
  if (typeof value !== 'object' || value === null) return true
  return Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen)
}

/** Freezes in slices as short as possible. Returns their number. */
function freeze(value, former, isJson = true) {
  const freezer = new StateFreezer(value, former, isJson)
  let slices = 1
  while (!freezer.run(-Infinity)) slices++
  return slices
}

test('everything is frozen, in slices', () => {
  let deep = { list: records(5000) }
  for (let i = 0; i < 500; i++) deep = { deep, own: record(i) }
  for (const value of [records(5000), members(5000), deep, { a: [[[members(2000)]]] }]) {
    const slices = freeze(value, undefined)
    assert.ok(isDeeplyFrozen(value))
    assert.ok(slices > 20, `${slices} slices`)
  }
  for (const value of [1, 'text', null, undefined, [], {}]) assert.equal(freeze(value, undefined), 1)
})

test('what is the same as in the former state is not visited', () => {
  const former = { large: records(5000), members: members(5000), gone: 1 }
  const next = { ...former, members: { ...former.members, added: record(1) }, list: [record(2)] }
  assert.ok(freeze(next, former) < 30)
  for (const part of [next, next.members, next.list]) assert.ok(Object.isFrozen(part))
  assert.ok(isDeeplyFrozen(next.list) && isDeeplyFrozen(next.members.added))
  assert.ok(!Object.isFrozen(next.large) && !Object.isFrozen(next.members['key 7']))
})

test('cycles, accessors that throw, proxies and frozen parts keep nothing from being frozen', () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const cycle = { list: [1] }
  cycle.list.push(cycle)
  const frozen = Object.freeze({ inner: { again: null } })
  frozen.inner.again = frozen
  const value = {
    get thrown() {
      throw new Error('accessor')
    },
    proxy,
    date: new Date(),
    many: Array.from({ length: 70_000 }, () => Object.freeze({ inner: {} })),
    cycle,
    frozen,
    last: { deep: [{}] }
  }
  value.many.push(...value.many.slice(0, 100))
  freeze(value, undefined, false)
  assert.ok(isDeeplyFrozen(value.many) && isDeeplyFrozen(value.last))
  for (const part of [value, cycle, cycle.list, frozen.inner]) assert.ok(Object.isFrozen(part))
  assert.ok(!Object.isFrozen(value.date))
})

test('what deserialize returns is frozen in slices', async () => {
  const text = JSON.stringify(records(20_000))
  let turns = 0
  let result = null
  const application = new Application({
    methods: {},
    reduce: state => state,
    snapshot: { serialize: state => [...state.map.values()], deserialize: list => ({ list, map: new Map() }) }
  })
  const pieces = [`[0,${text},6,0]`]
  const restoring = new Restoring(application, () => pieces.shift(), {
    progressed: () => turns++,
    done: (error, state) => (result = { error, state })
  })
  restoring.begin()
  await until('it is restored', () => result !== null)
  assert.equal(result.error, null)
  assert.ok(isDeeplyFrozen(result.state.list) && Object.isFrozen(result.state))
  assert.ok(turns >= 1, `${turns} turns`)
})

const HUGE = { array: records(120_000), object: members(12_000) }

for (const [kind, former] of Object.entries(HUGE)) {
  test(`of a huge ${kind}, a check compares what the action names, and the rest is frozen later`, () => {
    new Walk(true, true, null, null).adopt(former, undefined)
    const isArray = kind === 'array'
    const keyOf = i => (isArray ? i : `key ${i}`)
    const changed = given => {
      const next = isArray ? [...former] : { ...former }
      for (const [i, value] of given) next[keyOf(i)] = value
      return next
    }
    const action = { key: keyOf(5000) }

    const next = changed([
      [5000, { n: 1 }],
      [7000, { n: 2 }]
    ])
    const walk = new Walk(true, true, action, null)
    walk.adopt(next, former)
    assert.ok(walk.hasSkipped && walk.hasHuge)
    assert.ok(Object.isFrozen(next) && Object.isFrozen(next[keyOf(5000)]))
    assert.ok(!Object.isFrozen(next[keyOf(7000)]))
    freeze(next, former)
    assert.ok(Object.isFrozen(next[keyOf(7000)]))

    const refused = () => new Walk(true, true, action, null).adopt(changed([[5000, new Date(0)]]), former)
    assert.throws(refused, /is a Date, which JSON turns into a string/)

    // A reducer that saw the state by a lens may have put a proxy anywhere: then all entries are compared.
    const target = { n: 3 }
    const proxy = new Proxy(target, {})
    const lens = { targetOf: value => (value === proxy ? target : undefined) }
    const shown = changed([[7000, proxy]])
    new Walk(true, true, action, lens).adopt(shown, former)
    assert.equal(shown[keyOf(7000)], target)
    assert.ok(Object.isFrozen(target))
  })
}

test('a check in which everything has moved does not visit everything', () => {
  const former = { list: records(90_000) }
  new Walk(true, true, null, null).adopt(former, undefined)
  const added = { id: -1 }
  const next = { list: [added, ...former.list] }
  const walk = new Walk(true, true, null, null)
  walk.adopt(next, former)
  assert.ok(walk.hasSkipped && Object.isFrozen(next.list) && Object.isFrozen(added))
  const dated = { list: [...former.list, { at: new Date(0) }] }
  assert.throws(
    () => new Walk(true, true, null, null).adopt({ list: dated.list.slice(1) }, former),
    /is a Date/
  )
})

test('a reducer that puts the whole state one level deeper is watched once, and not for the next actions', () => {
  const check = new StateCheck(true)
  let runs = 0
  const wrap = (state, action) => {
    runs++
    return { inner: state, items: [action.item] }
  }
  let state = { inner: null, items: records(5000) }
  check.protect(state)
  const { items } = state
  for (const [i, expected] of [2, 3, 4].entries()) {
    const item = { i }
    const next = check.reduce(wrap, state, { item }, false)
    assert.equal(runs, expected)
    assert.equal(next.inner, state)
    assert.ok(isDeeplyFrozen(next.items))
    state = next
  }
  assert.equal(state.inner.inner.inner.items, items)
  const spoil = ({ inner, items }, action) => {
    inner.items.push(action.item)
    return { inner, items }
  }
  assert.throws(() => check.reduce(spoil, state, { item: {} }, false), /state\.inner\.items/)
})
