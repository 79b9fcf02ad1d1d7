/**
 * Is this tree as a peer: nodes of conflux, in one process or in one each.
 */
'use strict'

const { randomUUID } = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { freePorts } = require('../ports')
const { Seen } = require('../seen')

const ROW_BYTES = 100

module.exports = {
  name: 'conflux',
  title: 'conflux',
  promise: 'memory of a majority; acknowledged when applied here',
  missing: () => undefined,
  start: (options, run) => startNodes('conflux', options, run),
  startNodes,
  connect
}

/**
 * Nodes of conflux, or of 1.1.8 (`peer`).
 *
 * @param setting.client the peer whose `connect` the processes use; `size` how many nodes; `channel` 'memory': all in one process, any other: one process each; `isDurable`,
 *   `payloadBytes`, `isStructured`: rows instead of a text; `isProvisional`, `execArgv`.
 */
async function startNodes(
  peer,
  { redis, size = 3, channel = 'redis', isDurable, isLazy, execArgv, client = peer, ...options },
  run
) {
  // Here, and not above: a measured process has no cluster.
  const { Cluster } = require('../cluster')
  const ids = Array.from({ length: size }, (_, i) => `n${i + 1}`)
  const folder = isDurable ? fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-bench-')) : undefined
  if (folder) run.defer(() => fs.rmSync(folder, { recursive: true, force: true }))
  const cluster = new Cluster({
    groups: channel === 'memory' ? [ids] : ids.map(id => [id]),
    options: {
      peer: client,
      size,
      folder,
      channels: await CHANNELS[channel](ids, redis),
      ...options
    },
    execArgv
  })
  run.defer(() => cluster.close())
  return isLazy ? cluster : cluster.open()
}

/** The option `channel` of each node, by its id. */
const CHANNELS = {
  memory: ids => toAll(ids, { name: 'memory' }),
  local: ids => toAll(ids, { name: 'local', channelName: `bench-${randomUUID()}` }),
  redis: (ids, redis) =>
    toAll(ids, { name: 'redis', connectionString: redis.url, channelName: `bench-${randomUUID()}` }),
  tcp: async ids => {
    const addresses = (await freePorts(ids.length)).map(port => `127.0.0.1:${port}`)
    return Object.fromEntries(
      ids.map((id, i) => [id, { name: 'tcp', listen: addresses[i], peers: addresses }])
    )
  }
}

function toAll(ids, channel) {
  return Object.fromEntries(ids.map(id => [id, channel]))
}

/** In a measured process: a node, and what it knows of itself. */
function connect(options) {
  return new Client(options)
}

class Client {
  #node
  #sequence = 0
  #padding
  acknowledged = new Seen()

  constructor({ id, size, folder, channels, payloadBytes = 0, isStructured = false, isProvisional = false }) {
    const conflux = require('../..')
    this.origin = id
    const paddingBytes = Math.max(0, payloadBytes - `{"o":"${id}","n":1000000,"p":""}`.length)
    this.#padding = isStructured ? rowsOf(paddingBytes) : 'x'.repeat(paddingBytes)
    const look = isProvisional ? node => node.getProvisionalState().count : () => undefined
    this.#node = conflux({
      id,
      clusterSize: size,
      channel: channels[id],
      storage: folder && { path: path.join(folder, id) },
      methods: {
        append(thing) {
          look(this)
          return thing
        },
        fill: bytes => ({ bytes })
      },
      reduce
    })
  }

  get isLeader() {
    return this.#node.status().role === 'leader'
  }

  async perform() {
    const number = ++this.#sequence
    await this.#node.perform('append', [{ o: this.origin, n: number, p: this.#padding }])
    this.acknowledged.add(number)
  }

  fill(bytes) {
    return this.#node.perform('fill', [bytes])
  }

  settle() {
    return this.#node.sync({ timeout: 10_000 })
  }

  /** Of each origin, what is in the state. Its requests take effect in order: a last number says all. */
  applied() {
    const { ledger, doubled } = this.#node.getState()
    return Object.fromEntries(
      ledger.map(({ origin, last, holes }) => {
        // What is missing in the order shows as a hole at the end: it was not applied, and can not be any more.
        return [origin, { next: last + 1 - holes, beyond: [], doubled }]
      })
    )
  }
}

/** Copies one level, as reducers do, and checks the ledger as it goes: a list, because an object is copied by name. */
function reduce(state = { count: 0, last: null, ledger: [], doubled: 0, rows: [] }, action) {
  if (action === null) return state
  if (action.bytes !== undefined) return { ...state, rows: rowsOf(action.bytes) }
  const { o: origin, n: number } = action
  const ledger = state.ledger.slice()
  let place = ledger.findIndex(book => book.origin === origin)
  if (place === -1) place = ledger.push({ origin, last: 0, holes: 0 }) - 1
  const { last, holes } = ledger[place]
  const isNew = number > last
  if (isNew) ledger[place] = { origin, last: number, holes: holes + number - last - 1 }
  return {
    ...state,
    count: state.count + 1,
    last: number,
    ledger,
    doubled: isNew ? state.doubled : state.doubled + 1
  }
}

function rowsOf(bytes) {
  return Array.from({ length: bytes / ROW_BYTES }, (_, id) => ({ id, text: 'x'.repeat(ROW_BYTES - 22) }))
}
