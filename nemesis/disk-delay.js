/**
 * Makes disks slow: it builds the library `disk-delay.c`, which delays every sync of the processes that load it.
 *
 * Called by `cluster.js`, the fault `slow-disk` and the tests of hanging disks.
 */
'use strict'

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

let library

/** The path of the library; null where it cannot be built. */
function libraryOfDisk() {
  if (library === undefined) library = process.platform === 'linux' ? build() : null
  return library
}

function build() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-disk-'))
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }))
  const output = path.join(folder, 'disk-delay.so')
  const source = path.join(__dirname, 'disk-delay.c')
  const { status } = spawnSync('cc', ['-shared', '-fPIC', '-o', output, source, '-ldl'], { stdio: 'ignore' })
  return status === 0 ? output : null
}

/** Every sync of a process that reads this file takes so much longer, also one that is under way. */
function writeDiskDelay(file, milliseconds) {
  // Renamed into its place: a file that is being written reads as no delay.
  fs.writeFileSync(`${file}.new`, `${milliseconds}\n`)
  fs.renameSync(`${file}.new`, file)
}

module.exports = { libraryOfDisk, writeDiskDelay }
