// Checks that a file of the native addon is complete: if a part of it is missing, Linux ends the process that loads it
// (SIGBUS) instead of refusing it.

'use strict'

const fs = require('node:fs')
const { Buffer } = require('./environment')

const HEADER_BYTES = 64
const ELF = 0x464c457f
const IS_64_BIT = 2

/** What is wrong with the file, as text. Null if it is missing, complete, or of an unknown format. */
function faultOf(file) {
  const header = Buffer.alloc(HEADER_BYTES)
  let size
  try {
    const descriptor = fs.openSync(file)
    try {
      fs.readSync(descriptor, header)
      size = fs.fstatSync(descriptor).size
    } finally {
      fs.closeSync(descriptor)
    }
  } catch {
    // Node itself says why, when it loads it.
    return null
  }
  if (size === 0) return `${file}: the file is empty`
  if (header.readUInt32LE(0) !== ELF || header[4] !== IS_64_BIT) return null
  // The table of sections ends an ELF file.
  const end = Number(header.readBigUInt64LE(0x28)) + header.readUInt16LE(0x3a) * header.readUInt16LE(0x3c)
  return size < end ? `${file}: the file is truncated: it has ${size} of ${end} bytes` : null
}

module.exports = { faultOf }
