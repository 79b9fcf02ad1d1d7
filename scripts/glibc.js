/**
 * Reads from a binary for Linux which glibc it needs: the newest version that its symbols name.
 */
'use strict'

const fs = require('node:fs')

/** The oldest glibc that docs/platforms.md promises. */
const GLIBC_MAX = '2.28'

/** `2.17`, or null: it needs none, as a binary for musl, or for another system. */
function glibcOf(file) {
  // The linker leaves the name of each version in the table of strings.
  const names = fs.readFileSync(file, 'latin1').match(/GLIBC_\d+\.\d+/g) ?? []
  const versions = names.map(name => name.slice('GLIBC_'.length))
  return versions.length === 0 ? null : versions.reduce((a, b) => (compare(a, b) < 0 ? b : a))
}

/** Less than 0: the first is older. */
function compare(a, b) {
  const [majorA, minorA] = a.split('.').map(Number)
  const [majorB, minorB] = b.split('.').map(Number)
  return majorA - majorB || minorA - minorB
}

/** A sentence, or null. */
function glibcFault(file) {
  const needed = glibcOf(file)
  if (needed === null || compare(needed, GLIBC_MAX) <= 0) return null
  return `${file} needs glibc ${needed}; docs/platforms.md promises ${GLIBC_MAX}`
}

module.exports = { GLIBC_MAX, glibcFault, glibcOf }
