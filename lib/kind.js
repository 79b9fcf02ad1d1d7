// Names a value for the text of an error.

'use strict'

/** `a string`, `an array`, `an ArrayBuffer`, `undefined`. Never throws. */
function kindOf(value) {
  if (value === null || value === undefined) return String(value)
  const kind = typeof value === 'object' ? tagOf(value) : typeof value
  return `${/^[aeio]/i.test(kind) ? 'an' : 'a'} ${kind}`
}

function tagOf(value) {
  try {
    const [, tag] = /^\[object (.*)\]$/.exec(Object.prototype.toString.call(value))
    return tag === 'Object' || tag === 'Array' ? tag.toLowerCase() : tag
  } catch {
    // Its tag is an accessor that throws, or not a string.
    return 'object'
  }
}

/** `3`, `true`, or the kind: never what a string holds, which may be a password. */
function shown(value) {
  if (typeof value === 'number' || typeof value === 'boolean')
    return Object.is(value, -0) ? '-0' : String(value)
  if (value === '') return 'an empty string'
  return typeof value === 'string' && !value.isWellFormed()
    ? 'a string that is not well-formed'
    : kindOf(value)
}

module.exports = { kindOf, shown }
