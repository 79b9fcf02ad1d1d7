/**
 * Describes the environment of a run: machine, versions, date. Called by `bench.js`.
 */
'use strict'

const { spawnSync } = require('node:child_process')
const os = require('node:os')

const { obtainRedisServer } = require('../scripts/redis-server')
const { manifest } = require('../scripts/steps')

function machine() {
  const [cpu] = os.cpus()
  return {
    date: new Date().toISOString(),
    machine: `${os.cpus().length} × ${cpu.model.trim()}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, ${os.type()} ${/^[\d.]+/.exec(os.release())}`,
    conflux: manifest.version,
    node: process.versions.node,
    redis: /v=(\S+)/.exec(spawnSync(obtainRedisServer(), ['--version'], { encoding: 'utf8' }).stdout)?.[1]
  }
}

/** In one line. */
function describe({ date, machine, conflux, node, redis }) {
  return `conflux ${conflux}, Node ${node}, Redis ${redis}; ${machine}; ${date.slice(0, 10)}`
}

module.exports = { describe, machine }
