// Values by name that all nodes share, with compare-and-set, as a recipe and its client.
//
// Called by recipes.js. Each change gives a flag a version, which rises over all flags, so that a version never returns.

'use strict'

const { isDeepStrictEqual } = require('node:util')
const errors = require('../errors')
const { builtIn } = require('./built-in')
const checks = require('./checks')
const { Mount } = require('./mount')
const table = require('./table')

const INITIAL_STATE = Object.freeze({ recipe: 'flags/1', version: 0, values: Object.freeze({}) })

/** The recipe. */
function flags() {
  return builtIn({ name: 'flags', initialState: INITIAL_STATE, methods, reduce })
}

const methods = {
  /** `expected` is `{ version }`, `{ value }` or null; value and version of a flag that is not set are null and 0. */
  set(name, value, expected) {
    return changeIf(this.state, name, expected, { type: 'SET', name, value })
  },

  remove(name, expected) {
    if (expected === null && table.get(this.state.values, name) === undefined) return null
    return changeIf(this.state, name, expected, { type: 'REMOVED', name })
  }
}

const NOT_SET = Object.freeze({ value: null, version: 0 })

function changeIf({ values }, name, expected, action) {
  const current = table.get(values, name) ?? NOT_SET
  const isExpected =
    expected === null ||
    (Object.hasOwn(expected, 'version')
      ? expected.version === current.version
      : isDeepStrictEqual(plain(expected.value), plain(current.value)))
  if (isExpected) return action
  return errors.core(
    'ERR_CONFLUX_CONFLICT',
    `flag "${name}" has another value: its version is ${current.version}`,
    {
      name,
      value: current.value,
      version: current.version
    }
  )
}

/** While a method is watched it sees proxies, which are equal to nothing but themselves. */
const plain = value =>
  typeof value === 'object' && value !== null ? JSON.parse(JSON.stringify(value)) : value

function reduce(state, action) {
  switch (action.type) {
    case 'SET': {
      const version = state.version + 1
      const values = table.set(state.values, action.name, { value: action.value, version })
      return { ...state, version, values }
    }
    case 'REMOVED':
      return { ...state, version: state.version + 1, values: table.set(state.values, action.name, undefined) }
    default:
      return state
  }
}

/** @returns a client of the flags that are mounted under this key. */
function client(node, key) {
  return new Flags(new Mount(node, key, flags()))
}

const OPTIONS = {
  ifVersion: checks.integer(0),
  timeout: checks.milliseconds(0),
  signal: checks.signal
}

class Flags {
  #mount

  constructor(mount) {
    this.#mount = mount
  }

  /** The value on this node, or `fallback` if there is none. */
  get(name, fallback) {
    return this.entry(name)?.value ?? fallback
  }

  /** `{ value, version }` on this node, or null. */
  entry(name) {
    return table.get(this.#mount.state.values, checks.name('a flag', name)) ?? null
  }

  /** All `[name, value]` on this node, sorted by name. */
  entries() {
    return table
      .entries(this.#mount.state.values)
      .map(([name, { value }]) => [name, value])
      .sort(([a], [b]) => (a < b ? -1 : 1))
  }

  /** Resolves when the flag has the value. */
  async set(name, value, options) {
    checks.name('a flag', name)
    if (value === undefined || value === null) {
      throw errors.invalidCall(
        '`set` takes a value that is neither null nor undefined; `remove` removes a flag'
      )
    }
    const { ifVersion, ...callOptions } = checks.options('set', options, OPTIONS)
    const expected = ifVersion === undefined ? null : { version: ifVersion }
    await this.#mount.perform('set', [name, value, expected], callOptions)
  }

  /** Sets the flag if it has the expected value. Resolves with whether it had. */
  async compareAndSet(name, expected, value, options) {
    checks.name('a flag', name)
    const callOptions = checks.options('compareAndSet', options, {
      timeout: OPTIONS.timeout,
      signal: OPTIONS.signal
    })
    const condition = { value: expected ?? null }
    const args = value === undefined || value === null ? [name, condition] : [name, value, condition]
    try {
      await this.#mount.perform(args.length === 2 ? 'remove' : 'set', args, callOptions)
      return true
    } catch (error) {
      if (error.code === 'ERR_CONFLUX_CONFLICT') return false
      throw error
    }
  }

  /** Resolves when the flag is not set. */
  async remove(name, options) {
    checks.name('a flag', name)
    const { ifVersion, ...callOptions } = checks.options('remove', options, OPTIONS)
    const expected = ifVersion === undefined ? null : { version: ifVersion }
    await this.#mount.perform('remove', [name, expected], callOptions)
  }

  /** Calls the listener with the value and the former one when it has changed on this node. */
  watch(name, listener, options) {
    checks.name('a flag', name)
    const { node, key } = this.#mount
    const select = state => table.get(state[key]?.values ?? {}, name)?.value
    return node.watch(select, listener, options)
  }
}

module.exports = { client, flags }
