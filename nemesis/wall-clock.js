/**
 * The wall clock of the processes under test, which can be stepped: libfaketime stands between them and
 * CLOCK_REALTIME, and leaves CLOCK_MONOTONIC alone.
 *
 * Called by `cluster.js` and the fault that steps it. The clock of the machine is never touched.
 */
'use strict'

const fs = require('node:fs')

const LIBRARIES = ['x86_64', 'aarch64'].flatMap(machine =>
  ['libfaketimeMT.so.1', 'libfaketime.so.1'].map(name => `/usr/lib/${machine}-linux-gnu/faketime/${name}`)
)

/** The path of libfaketime, where Debian's package `faketime` is installed. */
function libraryOfClock() {
  return LIBRARIES.find(path => fs.existsSync(path))
}

/** A process that reads this file sees the machine's time so many seconds later. */
function writeClock(file, seconds) {
  fs.writeFileSync(file, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}\n`)
}

module.exports = { libraryOfClock, writeClock }
