/**
 * Is NATS JetStream as a peer: three servers, one process each, as Debian has them, and a stream with three
 * replicas, published to through the npm package nats.
 */
'use strict'

const { missingPackage, missingProgram, requirePackage } = require('../packages')
const { Seen } = require('../seen')
const { Servers } = require('../servers')

const fs = require('node:fs')

const IDS = ['n1', 'n2', 'n3']
const STREAM = 'bench'
const PUBLISH_PATIENCE_MS = 5000

module.exports = {
  name: 'nats',
  title: 'NATS JetStream',
  promise: 'files of a majority without fsync; acknowledged when stored',
  missing: () => missingProgram('nats-server', 'nats-server') ?? missingPackage('nats'),
  start,
  connect
}

async function start(_, run) {
  const { Cluster } = require('../cluster')
  const servers = new Servers(run)
  const ports = await servers.ports(2 * IDS.length)
  const [clientPorts, routePorts] = [ports.slice(0, 3), ports.slice(3)]
  for (const [i, id] of IDS.entries()) {
    const file = `${servers.folder(id)}.conf`
    fs.writeFileSync(file, configuration(id, clientPorts[i], routePorts, routePorts[i], servers.folder(id)))
    servers.start(id, 'nats-server', ['-c', file])
  }
  const url = Object.fromEntries(IDS.map((id, i) => [id, `127.0.0.1:${clientPorts[i]}`]))
  const manager = await servers.eventually(() => createStream(url.n1))
  run.defer(() => manager.connection.close())
  const leader = await servers.eventually(async () => {
    const { cluster } = await manager.streams.info(STREAM)
    return cluster?.leader && cluster.replicas?.every(({ current }) => current) ? cluster.leader : undefined
  })
  const cluster = new Cluster({
    groups: IDS.map(id => [id]),
    options: { peer: 'nats', url },
    leader,
    audit: alive => audit(url[alive[0]]),
    killServer: id => servers.kill(id)
  })
  run.defer(() => cluster.close())
  return cluster.open()
}

function configuration(id, port, routePorts, routePort, folder) {
  const routes = routePorts.map(other => `nats://127.0.0.1:${other}`).join(', ')
  return `
    server_name: ${id}
    listen: 127.0.0.1:${port}
    jetstream { store_dir: "${folder}" }
    cluster { name: bench, listen: 127.0.0.1:${routePort}, routes: [${routes}] }
  `
}

async function createStream(url) {
  const nats = requirePackage('nats')
  const connection = await nats.connect({ servers: url, timeout: 1000 })
  try {
    const { streams } = await connection.jetstreamManager({ timeout: 2000 })
    await streams.add({ name: STREAM, subjects: ['b.>'], num_replicas: IDS.length })
    return { connection, streams }
  } catch (error) {
    await connection.close()
    throw error
  }
}

/** How many messages the stream has of each origin: it is one log, and replicas can not be asked one by one. */
async function audit(url) {
  const nats = requirePackage('nats')
  const connection = await nats.connect({ servers: url, timeout: 1000 })
  try {
    const { streams } = await connection.jetstreamManager({ timeout: 5000 })
    const { state } = await streams.info(STREAM, { subjects_filter: 'b.>' })
    return [
      Object.fromEntries(
        Object.entries(state.subjects ?? {}).map(([subject, count]) => [
          subject.slice('b.'.length),
          { next: count + 1, beyond: [], doubled: 0 }
        ])
      )
    ]
  } finally {
    await connection.close()
  }
}

async function connect({ id, url }) {
  const nats = requirePackage('nats')
  const connection = await nats.connect({ servers: url[id], reconnect: false })
  const jetstream = connection.jetstream({ timeout: PUBLISH_PATIENCE_MS })
  const acknowledged = new Seen()
  const payload = new Uint8Array([120])
  let sequence = 0
  return {
    origin: id,
    acknowledged,
    perform: async () => {
      await jetstream.publish(`b.${id}`, payload)
      acknowledged.add(++sequence)
    }
  }
}
