// Runs a node in a worker thread, for tests that terminate it.

'use strict'

const { parentPort, workerData } = require('node:worker_threads')

const conflux = require('..')
const { list } = require('./nodes')

const { isBusy, ...options } = workerData
const node = conflux({ ...options, ...list })

node.perform('append', ['ready']).then(() => {
  parentPort.postMessage('ready')
  if (isBusy) for (let i = 0; i < 10; i++) keepPerforming()
})

async function keepPerforming() {
  for (;;) await node.perform('append', ['x'])
}
