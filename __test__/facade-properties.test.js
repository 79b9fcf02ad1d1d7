// Throws whatever JavaScript can express at the façade: names of methods, arguments, actions, errors, options.
// Nothing ends a node, nothing pollutes, every rejection has a documented code, and all nodes keep one state.
//
// `CONFLUX_RUNS=10000` is the long form; a failure prints the seed and the path that replay it.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')

const fc = require('fast-check')
const conflux = require('..')
const { elected, openCluster, until } = require('./nodes')

const RUNS = Number(process.env.CONFLUX_RUNS ?? 400)

const documented = new Set(
  fs.readFileSync(path.join(__dirname, '..', 'index.d.ts'), 'utf8').match(/ERR_CONFLUX_\w+/g)
)
const OUTCOMES = new Set(['refused', 'not-applied', 'unknown'])

const thrower = name => () => {
  throw new Error(name)
}

/** What is hostile in the way it is looked at; recomputed for each use. */
const TRAPS = {
  'a getter that throws': () => Object.defineProperty({}, 'x', { get: thrower('get'), enumerable: true }),
  'a toJSON that throws': () => ({ toJSON: thrower('toJSON') }),
  'a toJSON that throws no error': () => ({
    toJSON() {
      throw { toString: thrower('toString') }
    }
  }),
  'a toJSON of itself': () => {
    const value = { toJSON: () => ({ value }) }
    return value
  },
  'a cycle': () => {
    const value = []
    value.push({ value })
    return value
  },
  'a proxy that throws': () =>
    new Proxy({}, { ownKeys: thrower('ownKeys'), get: thrower('get'), getPrototypeOf: thrower('prototype') }),
  'a proxy of an array': () => new Proxy([1], {}),
  'a revoked proxy': () => {
    const { proxy, revoke } = Proxy.revocable([], {})
    revoke()
    return proxy
  },
  'a deep array': () => JSON.parse('['.repeat(6000) + ']'.repeat(6000)),
  'an array of 65 levels': () => JSON.parse('['.repeat(65) + ']'.repeat(65)),
  'a huge string': () => 'x'.repeat(1024 * 1024),
  'an own __proto__': () => JSON.parse('{"__proto__":{"polluted":true}}'),
  'an own constructor': () => JSON.parse('{"constructor":{"prototype":{"polluted":true}}}'),
  'a promise': () => Promise.resolve(1),
  'a rejected promise': () => {
    const promise = Promise.reject(new Error('its rejection is ignored'))
    promise.catch(() => {})
    return promise
  },
  'a then that throws': () => Object.defineProperty({}, 'then', { get: thrower('then') }),
  'a then': () => ({ then() {} }),
  'a BigInt': () => 1n,
  'a symbol': () => Symbol('s'),
  'a function': () => () => {},
  'a lone surrogate': () => '\ud800',
  'an object of surrogates': () => ({ '\udfff': '\ud800' }),
  'an invalid date': () => new Date(NaN),
  'an array with a hole': () => [, 1], // prettier-ignore
  'an array that is a number': () => Object.assign([1], { toJSON: () => 7 }),
  'an array that is nothing': () => Object.assign([1], { toJSON() {} })
}

const trap = fc.constantFrom(...Object.keys(TRAPS)).map(name => ({ trap: name }))
const anything = fc.anything({
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
  withUnicodeString: true
})
const value = fc.oneof(
  { weight: 3, arbitrary: anything },
  { weight: 3, arbitrary: fc.jsonValue() },
  { weight: 3, arbitrary: trap }
)
/** Arbitraries are printed when a property fails; traps are sprung only where they are used. */
const spring = given => (isTrap(given) ? TRAPS[given.trap]() : given)
const isTrap = given => typeof given === 'object' && given !== null && Object.hasOwn(TRAPS, trapOf(given))
const trapOf = given => Object.getOwnPropertyDescriptor(given, 'trap')?.value

const NAMES = [
  '__proto__',
  'constructor',
  'toString',
  '__defineGetter__',
  'hasOwnProperty',
  'valueOf',
  'then',
  'toJSON',
  '',
  '\0',
  '\ud800',
  'x'.repeat(1025)
]
const METHODS = ['echo', 'make', 'fail', 'refuse']
const method = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...METHODS) },
  { weight: 2, arbitrary: fc.constantFrom(...NAMES) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
  { weight: 1, arbitrary: value }
)

/** What the methods of the leader return or throw next; every node has it, for all are in this process. */
let made

const methods = {
  echo: given => given,
  make: () => made(),
  fail() {
    throw made()
  },
  refuse: () => Object.assign(new Error('refused'), { data: made(), [Symbol('s')]: 1 })
}

/** The count is what is compared; whatever arrives is put beside what came before, as an application would do it. */
function reduce(state, action) {
  if (action === null) return { count: 0, last: null, byKey: {} }
  const text = JSON.stringify(action)
  const keys = typeof action === 'object' ? Object.keys(action).slice(0, 3) : []
  const byKey = Object.fromEntries(keys.map(key => [key.slice(0, 20), text.length]))
  return { count: state.count + 1, last: text.slice(0, 200), byKey }
}

function assertDocumented(error, outcomes) {
  assert.ok(error instanceof Error, `rejected with ${typeof error}`)
  const { code, outcome } = error
  // An error that a method threw keeps its own code, if it had one.
  assert.ok(documented.has(code) || outcome === 'refused', `the code ${String(code)} is not documented`)
  assert.ok(outcomes.has(outcome), `the outcome ${outcome} with ${String(code)}`)
}

function assertUnpolluted() {
  assert.equal({}.polluted, undefined)
  assert.deepEqual(Object.keys(Object.prototype), [])
}

test(`${RUNS} calls of any kind end no node, and three nodes keep one state`, async t => {
  const nodes = openCluster(t, 3, { methods, reduce, snapshot: { entries: 200 } })
  await elected(nodes)
  const counts = { resolved: 0, refused: 0, 'not-applied': 0 }
  let actions = 0
  const property = fc.asyncProperty(
    fc.nat(2),
    method,
    fc.oneof({ weight: 4, arbitrary: fc.array(value, { maxLength: 3 }) }, { weight: 1, arbitrary: value }),
    value,
    async (which, name, args, next) => {
      made = () => spring(next)
      const given = Array.isArray(args) ? args.map(spring) : spring(args)
      try {
        const action = await nodes[which].perform(spring(name), given)
        counts.resolved++
        // Without an action nothing is replicated.
        if (action !== undefined) actions++
        assert.ok(action === undefined || typeof JSON.stringify(action) === 'string')
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        assertDocumented(error, OUTCOMES)
        assert.notEqual(error.outcome, 'unknown', `${error.code}: ${error.message}`)
        counts[error.outcome]++
      }
      assertUnpolluted()
      for (const node of nodes) assert.equal(node.status().state, 'open')
    }
  )
  await fc.assert(property, { numRuns: RUNS, endOnFailure: true })
  t.diagnostic(JSON.stringify({ ...counts, actions }))
  for (const count of [...Object.values(counts), actions])
    assert.ok(count > 0, 'every kind of outcome occurs')

  for (const node of nodes) {
    await node.sync()
    assert.equal(node.status().diverged, null)
    assert.equal(node.getState().count, actions)
    assert.deepEqual(node.getState(), nodes[0].getState())
  }
})

test(`${RUNS} arguments of everything else are taken or refused with a code`, async t => {
  const [node] = openCluster(t, 1, { methods, reduce })
  await node.ready()
  const calls = fc.constantFrom(
    'perform',
    'sync',
    'transferLeadership',
    'remove',
    'resize',
    'recover',
    'ready'
  )
  // Not those that are meant: a `remove` of the last voter is no hostile call, but takes its time.
  const property = fc.asyncProperty(calls, value, value, async (name, one, other) => {
    try {
      const call = node[name](spring(one), spring(other))
      if (typeof one === 'string' && name !== 'perform') return void call.catch(() => {})
      await Promise.race([call, new Promise(resolve => setTimeout(resolve, 20))])
    } catch (error) {
      if (!isSprung(error)) assert.ok(documented.has(error.code), `${name}: ${error.stack}`)
    }
    assert.equal(node.status().state, 'open')
  })
  await fc.assert(property, { numRuns: RUNS, endOnFailure: true })
  assertUnpolluted()
  await until('what was asked to end', () => node.status().pending === 0)
})

/** What the caller's own getters throw is the caller's. */
function isSprung(error) {
  const own = ['get', 'toJSON', 'ownKeys', 'prototype', 'then']
  return (
    own.includes(error?.message) ||
    /proxy that has been revoked|convert object to primitive/.test(error?.message)
  )
}

test(`${RUNS} options of anything open a node or are refused with all their faults`, async t => {
  const good = {
    id: 'a',
    clusterSize: 1,
    channel: { name: 'memory' },
    methods: {},
    reduce: state => state ?? null
  }
  const keys = fc.constantFrom(
    ...Object.keys(good),
    'electionTimeout',
    'heartbeatInterval',
    'maxPending',
    'snapshot',
    'version',
    'compareStates',
    'checkState',
    'quorumLoss',
    'constructor',
    'idd'
  )
  const property = fc.asyncProperty(
    fc.array(fc.tuple(keys, value), { minLength: 1, maxLength: 4 }),
    async given => {
      const options = { ...good, channel: { name: 'memory', channelName: randomUUID() } }
      for (const [key, hostile] of given) options[key] = spring(hostile)
      let node
      try {
        node = conflux(options)
      } catch (error) {
        if (isSprung(error)) return
        assert.ok(documented.has(error.code), error.stack)
        return
      }
      await node.close({ timeout: 0 })
      assertUnpolluted()
    }
  )
  await fc.assert(property, { numRuns: RUNS, endOnFailure: true })
})
