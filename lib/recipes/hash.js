// Hashes text for the shards of tables and for rendezvous hashing. The same on all platforms; not for secrets.

'use strict'

/** 32 bits: FNV-1a over UTF-16 code units, with MurmurHash3's finalizer. */
function hash(text) {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return mix(h)
}

/** Every bit of the result depends on every bit of `h`. */
function mix(h) {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** The score of a name for a key, which rendezvous hashing compares. */
function score(nameHash, keyHash) {
  return mix(nameHash ^ Math.imul(keyHash, 0x9e3779b1))
}

module.exports = { hash, score }
