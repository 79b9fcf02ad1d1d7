/**
 * `npm run trial`: it tries the packed package as a new user would, on every runtime that it is for, and in an
 * application of Next. Each is installed from npm into a folder of its own; nothing is kept.
 *
 * It is no part of `npm test`: the runtimes are some 100 MB each. `npm run trial -- node-22 bun` tries those alone.
 */
'use strict'

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { packLocal } = require('./pack-local')
const { Stop, install, main, npm, step } = require('./steps')
const { PACKAGES: NEXT, tryNext } = require('./trial-next')

const PROGRAM = `
  import conflux from 'conflux'
  import { cluster } from 'conflux/testing'
  import { storeOptions, toStore } from 'conflux/redux'

  const counter = (state = 0, action) => (action.type === 'added' ? state + action.by : state)

  const c = await cluster(3, storeOptions(counter))
  const leader = await c.leader()
  const stores = c.nodes.map(node => toStore(node))
  await Promise.all(stores.map(store => store.dispatch({ type: 'added', by: 1 })))
  await c.settled()
  console.log('states:', stores.map(store => store.getState()).join(' '))

  c.crash(leader)
  const next = await c.leader()
  await toStore(next).dispatch({ type: 'added', by: 1 })
  await c.settled()
  console.log('after a crash:', next.getState())
  const error = await next.perform('dispatch', [{ type: 1 }]).catch(error => error)
  console.log('refused:', conflux.isPerformError(error), error.outcome)
  await c.close()

  const node = conflux({
    id: 'a', clusterSize: 1, channel: { name: 'memory' }, storage: { path: process.argv[2] },
    initialState: 0, methods: { add: n => n }, reduce: (sum, n) => sum + n
  })
  await node.ready()
  await node.perform('add', [2])
  console.log('on disk:', node.getState() > 0)
  await node.close()
  console.log('closed:', node.status().state)
`

const EXPECTED = [
  'states: 3 3 3',
  'after a crash: 4',
  'refused: true refused',
  'on disk: true',
  'closed: closed'
]

const system = `${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`

/** From npm: the packages, and how the program of a runtime is started, or what tries an application. */
const TRIALS = {
  ...Object.fromEntries([20, 22, 24, 26].map(major => [`node-${major}`, nodeOf(major)])),
  bun: {
    packages: [`@oven/bun-${system.replace('arm64', 'aarch64')}`],
    program: [`@oven/bun-${system.replace('arm64', 'aarch64')}/bin/bun`]
  },
  deno: {
    packages: [`@deno/${system}${process.platform === 'linux' ? '-glibc' : ''}`],
    program: [
      `@deno/${system}${process.platform === 'linux' ? '-glibc' : ''}/deno`,
      'run',
      '--allow-all',
      '--quiet'
    ]
  },
  next: { packages: NEXT, tryIn: tryNext }
}

function nodeOf(major) {
  return { packages: [`node-${system}@${major}`], program: [`node-${system}/bin/node`] }
}

main(async () => {
  await install()
  const names = process.argv.slice(2)
  const unknown = names.filter(name => !(name in TRIALS))
  if (unknown.length > 0)
    throw new Stop(`There are ${Object.keys(TRIALS).join(', ')}; not ${unknown.join(', ')}.`)
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-trial-'))
  try {
    const tarballs = await step('Packing', () => packLocal(path.join(folder, 'dist')))
    for (const name of names.length > 0 ? names : Object.keys(TRIALS)) {
      const { packages, program, tryIn = folder => tryOn(program, folder) } = TRIALS[name]
      await step(name, async () => {
        const place = path.join(folder, name)
        await installInto(place, [...tarballs, ...packages])
        await tryIn(place)
      })
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
})

async function installInto(folder, packages) {
  fs.mkdirSync(folder)
  fs.writeFileSync(path.join(folder, 'package.json'), '{"private": true}')
  const options = ['--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
  await npm(['install', ...options, ...packages], { cwd: folder, quiet: true })
}

async function tryOn([file, ...args], folder) {
  fs.writeFileSync(path.join(folder, 'trial.mjs'), PROGRAM)
  const program = path.join(folder, 'node_modules', ...file.split('/'))
  // Twice: the second finds the first's disk.
  for (let run = 1; run <= 2; run++) {
    const ran = spawnSync(program, [...args, 'trial.mjs', 'data'], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 120_000
    })
    const lines = (ran.stdout ?? '').trim().split('\n')
    if (ran.status !== 0 || lines.join('\n') !== EXPECTED.join('\n')) {
      throw new Stop(`It ended with ${ran.status ?? ran.signal ?? ran.error}:\n${ran.stdout}${ran.stderr}`)
    }
  }
}
