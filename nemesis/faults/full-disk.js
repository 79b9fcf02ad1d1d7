/**
 * The fault: the disk of a process is full. Its node fails and says why; with room again it comes back from
 * what it had kept.
 *
 * The disk is a small tmpfs in the mount namespace of the run, under the storage of the last process. It is emptied
 * before, and its process comes back as a new member: a file that was larger once would have room inside.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { until } = require('../until')
const { isInNamespace } = require('../namespace')

const CHUNK = Buffer.alloc(4096)

function isImpossible({ isDurable }) {
  if (!isDurable) return 'needs nodes with storage'
  return !isInNamespace() && 'needs Linux, root and unshare'
}

async function strike({ cluster, note }) {
  const id = cluster.ids.at(-1)
  await cluster.living.find(member => member.id === id).kill()
  for (const name of fs.readdirSync(cluster.storageOf(id))) {
    fs.rmSync(path.join(cluster.storageOf(id), name), { recursive: true })
  }
  const target = cluster.start(id)
  await until(`${target.origin} to be a member`, async () => {
    const status = await target.ask('status').catch(() => null)
    return status !== null && status.appliedIndex > 0
  })
  const filler = path.join(cluster.storageOf(id), 'filler')
  fill(filler)
  try {
    await until(`${target.origin} to fail`, () => !target.isAlive)
  } finally {
    fs.rmSync(filler)
  }
  if (target.exit !== 3) throw new Error(`${target.origin} ended with ${target.exit} when its disk was full`)
  note({ target: id, expects: [`${target.origin} ERR_CONFLUX_STORAGE`] })
  cluster.start(id)
}

/** Writes until there is no room for another byte. */
function fill(path) {
  const file = fs.openSync(path, 'w')
  try {
    for (;;) fs.writeSync(file, CHUNK)
  } catch (error) {
    if (error.code !== 'ENOSPC') throw error
  } finally {
    fs.closeSync(file)
  }
}

module.exports = { name: 'full-disk', isImpossible, strike, endsProcesses: true }
