/**
 * Finds and installs what only the benchmark needs: packages of npm under `benches/peers/`, and servers of
 * the system. Called by the peers, the chart, and `npm run bench -- --install-peers`.
 */
'use strict'

const { spawnSync } = require('node:child_process')
const { createRequire } = require('node:module')
const fs = require('node:fs')
const path = require('node:path')

const { answers, npm, step } = require('../scripts/steps')

const folder = path.join(__dirname, 'peers')
const requirePackage = createRequire(path.join(folder, 'package.json'))

const SERVERS = ['etcd-server', 'nats-server']

/** How to install the package, if it is missing. */
function missingPackage(name) {
  return fs.existsSync(path.join(folder, 'node_modules', name))
    ? undefined
    : `\`npm run bench -- --install-peers\` installs the npm package ${name}`
}

/** The path of a server's program, or nothing. */
function findProgram(name) {
  return [...(process.env.PATH ?? '').split(path.delimiter), '/usr/bin', '/usr/sbin', '/usr/local/bin']
    .map(place => path.join(place, name))
    .find(file => fs.existsSync(file))
}

function missingProgram(name, debianPackage) {
  return findProgram(name)
    ? undefined
    : `\`npm run bench -- --install-peers\`, or \`apt-get install ${debianPackage}\``
}

async function installPeers() {
  await step('Installing the clients of the peers (npm ci, benches/peers)', () =>
    npm(['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'], { cwd: folder })
  )
  if (process.getuid?.() !== 0 || !answers('apt-get', ['--version'])) {
    console.log(`Install the servers by hand: ${SERVERS.join(', ')}.`)
    return
  }
  await step(`Installing the servers of the peers (${SERVERS.join(', ')})`, () => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    for (const args of [['update'], ['install', '-y', '--no-install-recommends', ...SERVERS]]) {
      spawnSync('apt-get', args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
    }
  })
}

module.exports = { findProgram, installPeers, missingPackage, missingProgram, requirePackage }
