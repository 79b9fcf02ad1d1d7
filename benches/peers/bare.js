/**
 * The limit as a peer: a bare round trip between two processes over the same Redis, through the same
 * client (`bare_round_trip.rs`). No consensus can be quicker from a leader; from a follower its floor is twice that.
 */
'use strict'

const { execFile } = require('node:child_process')
const { promisify } = require('node:util')

const { read } = require('../../scripts/steps')

let program

module.exports = {
  name: 'bare',
  title: 'bare round trip',
  promise: 'nothing: a message there and back',
  missing,
  start
}

/** Builds it, or says that it can't be built. */
function missing() {
  try {
    program ??= build()
  } catch (error) {
    return `cargo did not build bare_round_trip: ${error.message}`
  }
}

function build() {
  const args = ['bench', '--locked', '--bench', 'bare_round_trip', '--no-run', '--message-format=json']
  const artifacts = read('cargo', args)
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line))
  return artifacts.find(({ target, executable }) => executable && target.name === 'bare_round_trip')
    .executable
}

async function start({ redis }) {
  return {
    sequential: async seconds => {
      const { stdout } = await promisify(execFile)(program, [redis.url, String(seconds)])
      return JSON.parse(stdout)
    }
  }
}
