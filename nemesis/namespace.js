/**
 * Runs the nemesis in a network and a mount namespace of its own, where packets can be dropped and disks be
 * small without harm to other processes of the machine.
 *
 * Called by `nemesis.js`, by the faults that need it, and by `run.js` for the small disk. Where there are no rights for
 * it the nemesis runs without, and those faults are reported as skipped.
 */
'use strict'

const { spawn, spawnSync } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')

const { answers } = require('../scripts/steps')

const MARK = 'CONFLUX_NEMESIS_NAMESPACE'
const UNSHARE = ['--net', '--mount', '--propagation', 'private']
const DISK_MIB = 48

function isInNamespace() {
  return process.env[MARK] === '1'
}

/** Runs this very command again in namespaces of its own; resolves with its exit code, or null where that can't be. */
async function repeatInNamespace() {
  const isPossible =
    process.platform === 'linux' &&
    process.getuid() === 0 &&
    answers('unshare', [...UNSHARE, 'true']) &&
    answers('ip', ['-Version']) &&
    answers('nft', ['--version'])
  if (isInNamespace() || !isPossible) return null
  const child = spawn('unshare', [...UNSHARE, process.execPath, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, [MARK]: '1' }
  })
  const [code] = await once(child, 'exit')
  return code ?? 1
}

/** A fresh network namespace has a loopback, and it is down. */
function enterNamespace() {
  if (isInNamespace()) obey('ip', ['link', 'set', 'lo', 'up'])
}

/** Drops so many percent of the packets to and from these addresses. */
function drop(addresses, percent) {
  const rules = addresses.flatMap(address =>
    ['daddr', 'saddr'].map(end => `ip ${end} ${address} numgen random mod 100 < ${percent} drop`)
  )
  const lines = [
    'table ip nemesis {',
    'chain output {',
    'type filter hook output priority 0',
    ...rules,
    '}',
    '}'
  ]
  obey('nft', ['-f', '-'], `${lines.join('\n')}\n`)
}

function dropNothing() {
  obey('nft', ['-f', '-'], 'table ip nemesis\ndelete table ip nemesis\n')
}

/** Puts a small disk under a directory; `keepSmallDisk` ends that. */
function mountSmallDisk(directory) {
  fs.mkdirSync(directory, { recursive: true })
  obey('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'tmpfs', directory])
}

/** Takes the disk away and leaves in the directory what was on it. */
function keepSmallDisk(directory) {
  const kept = `${directory}.kept`
  fs.cpSync(directory, kept, { recursive: true })
  obey('umount', [directory])
  fs.rmdirSync(directory)
  fs.renameSync(kept, directory)
}

function obey(program, args, input) {
  const { status, stderr, error } = spawnSync(program, args, { input, encoding: 'utf8' })
  if (status !== 0) throw new Error(`\`${program} ${args.join(' ')}\`: ${error ?? stderr}`)
}

module.exports = {
  drop,
  dropNothing,
  enterNamespace,
  isInNamespace,
  keepSmallDisk,
  mountSmallDisk,
  repeatInNamespace
}
