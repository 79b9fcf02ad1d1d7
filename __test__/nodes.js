// Opens nodes on the memory channel for a test, and closes them after it.

'use strict'

const assert = require('node:assert/strict')
const { execFile } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const conflux = require('..')

const PATIENCE_MS = 90_000

/** A list of things, appended one by one. */
const list = {
  methods: {
    append(thing) {
      return thing
    }
  },
  reduce(state, action) {
    const things = state ?? []
    return action === null ? things : [...things, action]
  }
}

/** A cluster of one. */
function openOne(t, options) {
  return openCluster(t, 1, options)[0]
}

/** All nodes of a cluster, named a, b, c, …; `options` may be a function of the id. */
function openCluster(t, size, options = {}) {
  const channelName = randomUUID()
  return Array.from({ length: size }, (_, i) => {
    const id = String.fromCharCode(97 + i)
    const own = typeof options === 'function' ? options(id) : options
    return openNode(t, { id, clusterSize: size, channel: { name: 'memory', channelName }, ...list, ...own })
  })
}

function openNode(t, options) {
  const node = conflux(options)
  openedBy(t).nodes.push(node)
  return node
}

/** The path of a new folder, which is removed after the test. */
function makeFolder(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-'))
  openedBy(t).folders.push(folder)
  return folder
}

/** By test: what ends with it, first the nodes, which fail if their folder is removed before. */
const opened = new WeakMap()

function openedBy(t) {
  if (!opened.has(t)) {
    const [nodes, folders] = [[], []]
    opened.set(t, { nodes, folders })
    t.after(async () => {
      for (const node of nodes) await node.close()
      for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    })
  }
  return opened.get(t)
}

/** Resolves with `{ leader, followers }` once all know one of them as the leader. */
async function elected(nodes) {
  let leader
  await until('a leader that all know', () => {
    leader = nodes.find(node => node.status().role === 'leader')
    return leader && nodes.every(node => node.status().leader === leader.status().id)
  })
  return { leader, followers: nodes.filter(node => node !== leader) }
}

/** Resolves once the condition holds; a promise of a condition is awaited. */
async function until(what, condition) {
  const end = Date.now() + PATIENCE_MS
  while (!(await condition())) {
    assert.ok(Date.now() < end, `waited ${PATIENCE_MS} ms for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** What the promise is rejected with. */
async function rejection(promise) {
  let value
  try {
    value = await promise
  } catch (error) {
    return error
  }
  throw new assert.AssertionError({ message: `expected a rejection, got ${JSON.stringify(value)}` })
}

/**
 * Runs a script in a process of its own and resolves with `{ code, stdout, stderr }` when it has ended by itself.
 * The script has `conflux`, and `options` for a cluster of one. `before` runs before conflux is loaded. A script finds
 * its whole source in `process.env.SCRIPT`, to run it again.
 */
function runScript(script, before = '') {
  const source = `
    ${before}
    const conflux = require(${JSON.stringify(path.join(__dirname, '..'))})
    const options = {
      id: 'a',
      clusterSize: 1,
      channel: { name: 'memory' },
      methods: { append (thing) { return thing } },
      reduce (state, action) { return action === null ? [] : [...state, action] }
    }
    ${script}
  `
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined, SCRIPT: source }
  return new Promise(resolve => {
    execFile(process.execPath, ['-e', source], { env, timeout: PATIENCE_MS }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (error.code ?? error.signal), stdout, stderr })
    )
  })
}

module.exports = { elected, list, makeFolder, openCluster, openNode, openOne, rejection, runScript, until }
