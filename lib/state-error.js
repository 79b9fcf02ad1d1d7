// The error of a state that was changed in place, or that is not JSON.

'use strict'

const { cut } = require('./json-faults')

/**
 * The reducer or a method violated a rule about the state. `path` names the place; `message` also says how to fix it.
 */
class StateError extends Error {
  #isStateError = true

  constructor(message, path) {
    super(message)
    this.path = path
  }

  /** Whether it is one. `instanceof` would call a trap of a Proxy that an application throws. */
  static is(value) {
    return typeof value === 'object' && value !== null && #isStateError in value
  }

  static ofChange({ path, object, isArray, key, action }) {
    const entry = key === null ? '' : `, ${isArray ? 'x' : entryOf(key)}`
    const copy = isArray ? `[...${cut(object)}${entry}]` : `{ ...${cut(object)}${entry} }`
    return new StateError(
      `it changed the state in place (\`${cut(path)}\` was ${action}); return a new state instead, with \`${copy}\` ` +
        'where it differs',
      path
    )
  }

  static ofFault(fault) {
    const path = `state${fault.path}`
    return new StateError(
      `\`${cut(path)}\` ${fault.why}; keep JSON values in the state, or use snapshot: { serialize, deserialize }`,
      path
    )
  }
}

function entryOf(key) {
  return typeof key === 'string' && /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key)
    ? `${key}: …`
    : '[key]: …'
}

module.exports = { StateError }
