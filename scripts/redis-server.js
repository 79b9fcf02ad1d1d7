/**
 * Finds, installs and runs a real redis-server, each on a port of its own.
 *
 * Called by the test runner, the tests, the quickstart and the benchmark. It may use nothing but Node's own modules,
 * and never touches a server that it did not start.
 */
'use strict'

const { spawn, spawnSync } = require('node:child_process')
const { randomInt } = require('node:crypto')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')

const { Stop, answers } = require('./steps')

/** One redis-server process, without persistence, reachable from this machine only. */
class RedisServer {
  #program
  #arguments
  #child

  /** `settings` are further arguments of the program, which overrule the ones here. */
  constructor(program, port, { password, settings = [] } = {}) {
    this.#program = program
    this.port = port
    this.url = password ? `redis://:${password}@127.0.0.1:${port}` : `redis://127.0.0.1:${port}`
    this.#arguments = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
    if (password) this.#arguments.push('--requirepass', password)
    this.#arguments.push(...settings)
  }

  get pid() {
    return this.#child.pid
  }

  /** Starts the process, again too, and returns once it answers. */
  async start() {
    // A replica keeps a file of what it was sent, and a server loads such a file when it starts: each has its own folder.
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-redis-'))
    const child = spawn(this.#program, this.#arguments.map(String), { cwd: folder, stdio: 'ignore' })
    this.#child = child
    children.set(child, folder)
    child.once('exit', () => forget(child))
    await once(child, 'spawn')
    while (child.exitCode === null && child.signalCode === null) {
      try {
        await this.command('PING')
        return this
      } catch {
        await new Promise(resolve => setTimeout(resolve, 10))
      }
    }
    throw new Stop(`redis-server on port ${this.port} ended at once (exit code ${child.exitCode}).`)
  }

  /** Ends the process as a crash does, and returns once it is gone. */
  async kill() {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  freeze() {
    this.#child.kill('SIGSTOP')
  }

  thaw() {
    this.#child.kill('SIGCONT')
  }

  /** Sends one command on a connection of its own; resolves with the raw reply, an error reply included. */
  command(...parts) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.port, '127.0.0.1')
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('redis-server closed the connection')))
      socket.once('data', reply => {
        resolve(reply.toString())
        socket.destroy()
      })
      socket.write(`*${parts.length}\r\n`)
      for (const part of parts) {
        const bytes = Buffer.isBuffer(part) ? part : Buffer.from(String(part))
        socket.write(`$${bytes.length}\r\n`)
        socket.write(bytes)
        socket.write('\r\n')
      }
    })
  }
}

/** Starts a redis-server on a free port. */
async function startRedisServer(options) {
  return new RedisServer(obtainRedisServer(), await freePort(), options).start()
}

/** A RedisServer on a free port that is not started yet. */
async function prepareRedisServer() {
  return new RedisServer(obtainRedisServer(), await freePort())
}

/** The path of a redis-server: $CONFLUX_REDIS_SERVER, one on the PATH, or one that is installed now. */
function obtainRedisServer() {
  const found = findRedisServer() ?? installRedisServer()
  if (!found) {
    throw new Stop(
      'redis-server is missing: install Redis (https://redis.io/docs/install), or name the program in ' +
        'CONFLUX_REDIS_SERVER.'
    )
  }
  return found
}

function findRedisServer() {
  const named = process.env.CONFLUX_REDIS_SERVER
  if (named) {
    if (answers(named, ['--version'])) return named
    throw new Stop(`CONFLUX_REDIS_SERVER names \`${named}\`, which can not be run.`)
  }
  const folders = [
    ...(process.env.PATH ?? '').split(path.delimiter),
    '/usr/bin',
    '/usr/local/bin',
    '/opt/homebrew/bin'
  ]
  const names = ['redis-server', 'valkey-server', 'redis-server.exe']
  return folders
    .flatMap(folder => names.map(name => path.join(folder, name)))
    .find(file => fs.existsSync(file) && answers(file, ['--version']))
}

const INSTALLERS = [
  { program: 'brew', asRoot: false, commands: [['install', 'redis']] },
  { program: 'apt-get', asRoot: true, commands: [['update'], ['install', '-y', 'redis-server']] },
  { program: 'dnf', asRoot: true, commands: [['install', '-y', '/usr/bin/redis-server']] },
  { program: 'apk', asRoot: true, commands: [['add', 'redis']] },
  { program: 'zypper', asRoot: true, commands: [['--non-interactive', 'install', 'redis']] },
  { program: 'pacman', asRoot: true, commands: [['-Sy', '--noconfirm', 'valkey']] }
]

/** Installs Redis with the system's package manager, if that needs no password. */
function installRedisServer() {
  const installer = INSTALLERS.find(({ program }) => answers(program, ['--version']))
  if (!installer) return undefined
  const isRoot = process.getuid?.() === 0
  if (installer.asRoot && !isRoot && !answers('sudo', ['-n', 'true'])) return undefined

  const before = installer.asRoot && !isRoot ? ['sudo', '-n'] : []
  for (const args of installer.commands) {
    const command = [...before, installer.program, ...args]
    console.log(`▸ Redis is missing, installing it: ${command.join(' ')}`)
    spawnSync(command[0], command.slice(1), {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'ignore', 'inherit']
    })
  }
  return findRedisServer()
}

/**
 * A free port outside the range for outgoing connections (Linux begins it at 32768, macOS and Windows at 49152), so that a
 * server can be killed and started again on it.
 */
async function freePort() {
  for (;;) {
    const server = net.createServer().listen(randomInt(10_000, 32_768), '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch (error) {
      if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') throw error
      continue
    }
    const { port } = server.address()
    server.close()
    await once(server, 'close')
    return port
  }
}

/** Servers still running when this process ends are ended with it. Each with its folder. */
const children = new Map()
process.on('exit', () => {
  for (const child of [...children.keys()]) {
    child.kill('SIGKILL')
    forget(child)
  }
})

function forget(child) {
  const folder = children.get(child)
  children.delete(child)
  try {
    if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true })
  } catch {
    // Windows keeps the folder of a process that is about to end; it is one for temporary files.
  }
}

module.exports = { RedisServer, freePort, obtainRedisServer, prepareRedisServer, startRedisServer }
