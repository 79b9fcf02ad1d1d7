// Names the kind of a value for the text of an error.

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

module.exports = { kindOf }
