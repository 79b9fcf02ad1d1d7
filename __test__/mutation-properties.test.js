/**
 * Changes random states at random places, and lets random reducers that change none run with the check and
 * without it.
 *
 * CONFLUX_MUTATIONS sets how often (default 200).
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { isProxy } = require('node:util').types

const fc = require('fast-check')

const { Application } = require('../lib/application')
const { budgets } = require('../lib/budget')
const { StateError } = require('../lib/state-error')

const MUTATIONS = Number(process.env.CONFLUX_MUTATIONS ?? 200)

/** A JSON state with the places of all its containers. */
const states = fc.letrec(tie => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.integer(),
    fc.string(),
    fc.boolean(),
    fc.constant(null),
    tie('array'),
    tie('object')
  ),
  array: fc.array(tie('value'), { maxLength: 5 }),
  object: fc.dictionary(
    fc.oneof(fc.constantFrom('a', 'b', 'length', '__proto__', 'constructor', '0'), fc.string()),
    tie('value'),
    { maxKeys: 5 }
  )
})).object

function containersOf(value, steps = []) {
  if (typeof value !== 'object' || value === null) return []
  const below = Object.keys(value).flatMap(key => containersOf(value[key], [...steps, key]))
  return [steps, ...below]
}

const at = (state, steps) => steps.reduce((value, key) => value[key], state)
const application = (reducer, checkState = true) =>
  new Application({ methods: {}, snapshot: {}, reduce: reducer, checkState })
const clone = value => JSON.parse(JSON.stringify(value))
const isJsonAlike = state => JSON.stringify(state) === JSON.stringify(clone(state))

test('property: a change at any place of any state is refused and changes nothing', () => {
  const write = {
    strict: new Function('o', 'k', 'v', "'use strict'; if (v === undefined) delete o[k]; else o[k] = v"),
    sloppy: new Function('o', 'k', 'v', 'if (v === undefined) delete o[k]; else o[k] = v')
  }
  fc.assert(
    fc.property(
      states,
      fc.nat(),
      fc.string(),
      fc.constantFrom('strict', 'sloppy'),
      fc.boolean(),
      fc.boolean(),
      (generated, place, key, mode, isCopied, isDeleted) => {
        const state = clone(generated)
        const before = JSON.stringify(state)
        const places = containersOf(state)
        const steps = places[place % places.length]
        const existing = Object.keys(at(state, steps))
        const target = isDeleted ? existing[place % existing.length] : key
        if (target === undefined || target === '__proto__') return
        budgets.calm.left = 1e6
        const checked = application((s, action) => {
          if (action === null) return state
          write[mode](at(s, steps), target, isDeleted ? undefined : 1)
          return isCopied ? { ...s, other: 1 } : s
        })
        const initial = checked.initialState()
        assert.throws(() => checked.reduce(initial, {}), StateError)
        assert.equal(JSON.stringify(state), before)
      }
    ),
    { numRuns: MUTATIONS }
  )
})

test('property: a pure reducer gives the same with and without the check, watched or not', () => {
  /** Takes containers apart and puts them together again, as the numbers say. */
  const shuffle = (state, seeds) => {
    const parts = containersOf(state).map(steps => at(state, steps))
    return Object.fromEntries(
      seeds.map((seed, i) => {
        const part = parts[seed % parts.length]
        const copy = Array.isArray(part)
          ? [...part, seed, parts[i % parts.length]]
          : { ...part, seed, twin: part }
        return [`k${i}`, seed % 2 === 0 ? part : copy]
      })
    )
  }
  fc.assert(
    fc.property(
      states,
      fc.array(fc.array(fc.nat(), { maxLength: 6 }), { maxLength: 4 }),
      (generated, rounds) => {
        if (!isJsonAlike(generated)) return
        for (const left of [1e6, -1e9]) {
          const make = () => clone(generated)
          const pure = (s, action) => (action === null ? make() : shuffle(s, action))
          const checked = application(pure)
          const unchecked = application(pure, false)
          let one = checked.initialState()
          let other = unchecked.initialState()
          for (const seeds of rounds) {
            budgets.calm.left = left
            one = checked.reduce(one, seeds)
            other = unchecked.reduce(other, seeds)
            assert.equal(JSON.stringify(one), JSON.stringify(other))
            assertWithoutProxies(one)
            assertFrozen(one)
          }
        }
        budgets.calm.left = 250
      }
    ),
    { numRuns: MUTATIONS }
  )
})

function assertWithoutProxies(value) {
  assert.ok(!isProxy(value))
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(assertWithoutProxies)
}

function assertFrozen(value) {
  assert.ok(Object.isFrozen(value))
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(assertFrozen)
}
