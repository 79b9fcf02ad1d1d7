// Suggests the name that a mistyped one probably meant.
//
// Called by options.js for the options of a node, and by call-options.js and timer-rules.js for those of a call.

'use strict'

/** `; did you mean "timeout"?`, or nothing where no known name is near. */
function suggestion(name, known) {
  const lower = name.toLowerCase()
  const near = known
    .map(name => ({ name, distance: distance(lower, name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0]
  return near.distance <= Math.max(1, Math.floor(name.length / 3)) ? `; did you mean "${near.name}"?` : ''
}

/** Likewise, or else all of them, where there are few. */
function choice(name, known) {
  const all = known.map(one => `"${one}"`).join(', ')
  return suggestion(name, known) || `; there ${known.length === 1 ? 'is' : 'are'} ${all}`
}

/** How many letters to insert, delete or replace, or neighbours to swap (optimal string alignment). */
function distance(a, b) {
  let before = []
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (isSwapped) next[j] = Math.min(next[j], before[j - 2] + 1)
    }
    ;[before, row] = [row, next]
  }
  return row[b.length]
}

module.exports = { choice, suggestion }
