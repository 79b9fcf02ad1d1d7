/**
 * The cluster under test: OS processes over a network, what they are asked, and how they are started and
 * ended.
 *
 * Owned by `run.js`, handed to every fault. It decides nothing about faults.
 */
'use strict'

const { fork } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')

const { libraryOfDisk, writeDiskDelay } = require('./disk-delay')
const { LocalNetwork, TcpNetwork } = require('./direct-network')
const { Network } = require('./network')
const { isInNamespace, keepSmallDisk, mountSmallDisk } = require('./namespace')
const { until } = require('./until')
const { libraryOfClock, writeClock } = require('./wall-clock')

const ASK_TIMEOUT_MS = 3000

/** By the name of the channel. */
const NETWORKS = { redis: Network, tcp: TcpNetwork, local: LocalNetwork }

class Cluster {
  #settings

  /**
   * @param settings.channel over which: redis (the default), tcp or local.
   * @param settings.size how many processes, all voters.
   * @param settings.isDurable whether they keep their logs on disk.
   * @param settings.program what the processes run: a file of this folder.
   * @param settings.folder where histories, logs and storages go.
   */
  static async start(settings) {
    const cluster = new Cluster()
    cluster.#settings = settings
    cluster.size = settings.size
    cluster.isDurable = settings.isDurable
    cluster.ids = Array.from({ length: settings.size }, (_, i) => `node-${i + 1}`)
    cluster.network = await NETWORKS[settings.channel ?? 'redis'].start(settings.folder, cluster.ids)
    /** All processes that ever ran, in the order of their starts. */
    cluster.members = []
    /** Faults that the processes reported; the run decides which of them are to be expected. */
    cluster.faults = []
    if (cluster.smallDisk) mountSmallDisk(cluster.smallDisk)
    for (const id of cluster.ids) cluster.start(id)
    return cluster
  }

  get living() {
    return this.members.filter(member => member.isAlive)
  }

  get redis() {
    return this.network.redis
  }

  get quorum() {
    return Math.floor(this.size / 2) + 1
  }

  /** Starts a process under this id: a fresh member, or, with a disk, the one that it was. */
  start(id) {
    const { program, folder, clients, pause, options } = this.#settings
    const index = this.ids.indexOf(id)
    const origin = `${id}.${this.members.length + 1}`
    const member = new Member({
      ...options,
      program,
      id,
      origin,
      clusterSize: this.size,
      channel: this.network.channelOf(id, index),
      storage: this.isDurable && index >= 0 ? { path: this.storageOf(id) } : undefined,
      historyFile: path.join(folder, `${origin}.history`),
      logFile: path.join(folder, `${origin}.log`),
      clockFile: this.clockOf(id),
      diskDelayFile: this.diskDelayOf(id),
      clients,
      pause
    })
    member.onFault = fault => this.faults.push({ ...fault, origin })
    this.members.push(member)
    return member
  }

  /** Processes beside those of the cluster, in memory. The code that starts them ends them. */
  startGuests(count) {
    return Array.from({ length: count }, () => this.start(`guest-${this.members.length + 1}`))
  }

  /** The directory of the last process, where this machine lets us make small disks. */
  get smallDisk() {
    return this.isDurable && isInNamespace() ? this.storageOf(this.ids.at(-1)) : undefined
  }

  storageOf(id) {
    return path.join(this.#settings.folder, 'storage', id)
  }

  clockOf(id) {
    return libraryOfClock() ? path.join(this.#settings.folder, `${id}.clock`) : undefined
  }

  diskDelayOf(id) {
    return this.isDurable && libraryOfDisk() ? path.join(this.#settings.folder, `${id}.delay`) : undefined
  }

  /** The status of every living process that answers. */
  async statuses() {
    const answers = await Promise.all(
      this.living.map(async member => ({ member, status: await member.ask('status').catch(() => null) }))
    )
    return answers.filter(({ status }) => status !== null)
  }

  /** Incarnations by id: where frames to that process go. */
  async incarnations() {
    const statuses = await this.statuses()
    return Object.fromEntries(statuses.map(({ member, status }) => [member.id, status.incarnation]))
  }

  /** The process that leads in the newest term. */
  async leader() {
    let leader
    await until('a leader', async () => {
      const leading = (await this.statuses()).filter(({ status }) => status.role === 'leader')
      leader = leading.sort((a, b) => b.status.term - a.status.term)[0]?.member
      return leader !== undefined
    })
    return leader
  }

  /** Resolves with the leader once all processes live, and are voters that it hears. */
  async whole(patience) {
    let leader
    await until(
      `${this.size} living voters`,
      async () => {
        const statuses = await this.statuses()
        const living = new Set(statuses.map(({ status }) => status.incarnation))
        leader = statuses.find(({ status: { role, members } }) => {
          const voters = members.filter(({ voter }) => voter)
          const isHeard = ({ incarnation, active }) => active && living.has(incarnation)
          return role === 'leader' && voters.length === this.size && voters.every(isHeard)
        })?.member
        return leader !== undefined
      },
      patience
    )
    return leader
  }

  /** Resolves with the time until a call made after the call was acknowledged, by any of these processes. */
  async serves(patience, members) {
    const start = Number(process.hrtime.bigint() / 1000n)
    let fresh
    await until(
      'a call to be acknowledged',
      async () => {
        const answers = await Promise.all(
          (members ?? this.living).map(member => member.ask('progress').catch(() => undefined))
        )
        fresh = answers.find(answer => answer !== undefined && answer.freshestInvocation > start)
        return fresh !== undefined
      },
      patience
    )
    return Math.round((Number(process.hrtime.bigint() / 1000n) - start) / 1000)
  }

  async end() {
    await Promise.all(this.living.map(member => member.kill()))
    await this.network.end()
    if (this.smallDisk) keepSmallDisk(this.smallDisk)
  }
}

/** One process. */
class Member {
  #child
  #questions = new Map()
  #questionsAsked = 0

  constructor({ program = 'process.js', logFile, clockFile, diskDelayFile, ...options }) {
    this.id = options.id
    this.origin = options.origin
    this.isPaused = false
    this.onFault = () => {}
    const log = fs.openSync(logFile, 'a')
    if (clockFile) writeClock(clockFile, 0)
    if (diskDelayFile) writeDiskDelay(diskDelayFile, 0)
    this.#child = fork(path.join(__dirname, program), [JSON.stringify(options)], {
      stdio: ['ignore', log, log, 'ipc'],
      env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...environment(clockFile, diskDelayFile) }
    })
    fs.closeSync(log)
    this.#child.on('message', message => this.#hear(message))
    // What cannot be sent to a process that is about to end gets no answer, and that is reported.
    this.#child.on('error', () => {})
    this.#child.once('exit', () => {
      for (const answer of this.#questions.values()) answer({ error: { message: 'the process has ended' } })
      this.#questions.clear()
    })
  }

  get isAlive() {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  get pid() {
    return this.#child.pid
  }

  get exit() {
    return this.#child.exitCode ?? this.#child.signalCode
  }

  /** Rejects with what the verb rejects with, or after the patience. */
  ask(verb, argument, patience = ASK_TIMEOUT_MS) {
    const question = ++this.#questionsAsked
    return new Promise((resolve, reject) => {
      const give = () =>
        this.#questions.delete(question) && reject(new Error(`${this.origin}: no answer to ${verb}`))
      const limit = setTimeout(give, patience)
      this.#questions.set(question, ({ answer, error }) => {
        clearTimeout(limit)
        if (error) reject(Object.assign(new Error(`${this.origin}, ${verb}: ${error.message}`), error))
        else resolve(answer)
      })
      if (this.#child.connected) this.#child.send({ verb, question, argument }, () => {})
      else give()
    })
  }

  async kill() {
    await this.#endWith('SIGKILL')
  }

  /** As an orchestrator ends a process. */
  async terminate() {
    await this.#endWith('SIGTERM')
  }

  pause() {
    this.isPaused = true
    this.#child.kill('SIGSTOP')
  }

  resume() {
    this.isPaused = false
    this.#child.kill('SIGCONT')
  }

  async #endWith(signal) {
    if (!this.isAlive) return
    const gone = once(this.#child, 'exit')
    this.#child.kill(signal)
    await gone
  }

  #hear(message) {
    if (message.fault) this.onFault(message.fault)
    if (message.question === undefined) return
    this.#questions.get(message.question)?.(message)
    this.#questions.delete(message.question)
  }
}

/** What stands between a process and its clock and its disk. */
function environment(clockFile, diskDelayFile) {
  const libraries = [clockFile && libraryOfClock(), diskDelayFile && libraryOfDisk()]
  return {
    LD_PRELOAD: libraries.filter(Boolean).join(':') || undefined,
    DISK_DELAY_FILE: diskDelayFile,
    ...(clockFile && clockEnvironment(clockFile))
  }
}

function clockEnvironment(clockFile) {
  return {
    FAKETIME_TIMESTAMP_FILE: clockFile,
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    FAKETIME_NO_CACHE: '1'
  }
}

module.exports = { Cluster }
