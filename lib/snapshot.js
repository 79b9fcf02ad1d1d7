// Encodes a state for a snapshot or a hash, and reports the part of it that does not survive JSON.
//
// Called by node.js. It blocks JavaScript: `JSON.stringify`, then one walk over the state, which is less.

'use strict'

const { now } = require('./environment')
const errors = require('./errors')
const { Fault, cut, findFault } = require('./json-faults')

/**
 * The text of the state, or why there is none.
 *
 * What JSON keeps except for a shade is kept: `-0` becomes 0, a property whose value is `undefined` is gone. What is
 * more than its values is not: an array's further properties, accessors, what is not enumerable.
 *
 * @returns {{ text: string | null, why: string | null, micros: number }} `micros`: how long it took.
 */
function take(application, state) {
  const start = now()
  let text = null
  let why = null
  try {
    const value = application.serialize(state)
    const path = application.serializes ? 'serialize(state)' : 'state'
    text = stringify(value)
    const fault = text === null ? explain(value) : findFault(value, 0, null)
    if (fault !== null) {
      text = null
      const advice = application.serializes
        ? '`serialize` must return what JSON keeps'
        : 'use snapshot: { serialize, deserialize }'
      why = `${cut(path + fault.path)} ${fault.why}; ${advice}`
    }
  } catch (error) {
    text = null
    why = errors.messageOf(error)
  }
  return { text, why, micros: Math.round((now() - start) * 1000) }
}

/** The state again. Throws where the text is not JSON (null: not even text), or `deserialize` throws. */
function read(application, text) {
  if (text === null) throw new Error('it is not text')
  return application.deserialize(JSON.parse(text))
}

function stringify(value) {
  try {
    return JSON.stringify(value) ?? null
  } catch {
    return null
  }
}

/** Why `JSON.stringify` gives nothing. Only now is it worth remembering the way, to find a cycle. */
function explain(value) {
  return (
    findFault(value, 0, new Set()) ??
    new Fault('cannot become one string: it is too long, or a `toJSON` threw')
  )
}

module.exports = { take, read }
