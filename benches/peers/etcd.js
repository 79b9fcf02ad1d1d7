/**
 * Is etcd as a peer: three members, one process each, as Debian has them, spoken to through the npm package
 * etcd3.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const { missingPackage, missingProgram, requirePackage } = require('../packages')
const { Seen } = require('../seen')
const { Servers } = require('../servers')

const IDS = ['n1', 'n2', 'n3']
const KEYS_OF_A_PAGE = 20_000

const LEASE_SECONDS = 10
const RETRY_MS = 10

module.exports = {
  name: 'etcd',
  title: 'etcd',
  promise: 'fsync on a majority; acknowledged when applied',
  missing: () => missingProgram('etcd', 'etcd-server') ?? missingPackage('etcd3'),
  start,
  connect
}

async function start({ clients = IDS.length }, run) {
  const { Cluster } = require('../cluster')
  const servers = new Servers(run)
  const ports = await servers.ports(2 * IDS.length)
  const [clientUrls, peerUrls] = [ports.slice(0, 3), ports.slice(3)].map(three =>
    three.map(port => `http://127.0.0.1:${port}`)
  )
  for (const [i, id] of IDS.entries()) {
    servers.start(id, 'etcd', [
      ...['--name', id, '--data-dir', servers.folder(id), '--log-level', 'error'],
      ...['--listen-client-urls', clientUrls[i], '--advertise-client-urls', clientUrls[i]],
      ...['--listen-peer-urls', peerUrls[i], '--initial-advertise-peer-urls', peerUrls[i]],
      ...['--initial-cluster', IDS.map((other, j) => `${other}=${peerUrls[j]}`).join(',')]
    ])
  }
  const ids = Array.from({ length: clients }, (_, i) => `n${i + 1}`)
  const leader = await servers.eventually(() => leaderOf(clientUrls))
  const cluster = new Cluster({
    groups: ids.map(id => [id]),
    options: { peer: 'etcd', url: Object.fromEntries(ids.map((id, i) => [id, clientUrls[i % IDS.length]])) },
    leader,
    audit: alive => Promise.all(alive.map(id => audit(clientUrls[IDS.indexOf(id)]))),
    killServer: id => servers.kill(id)
  })
  run.defer(() => cluster.close())
  return cluster.open()
}

/** The id of the member that leads, or nothing while there is none. */
async function leaderOf(urls) {
  const { header, leader } = await post(urls[0], '/v3/maintenance/status', {})
  if (!leader || leader === '0') return undefined
  const statuses = await Promise.all(urls.map(url => post(url, '/v3/maintenance/status', {})))
  const ids = statuses.map(status => status.header.member_id)
  return header && IDS[ids.indexOf(leader)]
}

/** Every key that this member has: each call put one of its own. */
async function audit(url) {
  const base64 = text => Buffer.from(text).toString('base64')
  const applied = {}
  for (let key = 'b/', more = true; more;) {
    const page = await post(url, '/v3/kv/range', {
      key: base64(key),
      range_end: base64('b0'),
      limit: KEYS_OF_A_PAGE,
      keys_only: true
    })
    const keys = (page.kvs ?? []).map(kv => Buffer.from(kv.key, 'base64').toString())
    for (const found of keys) {
      const [, origin, number] = found.split('/')
      applied[origin] ??= new Seen()
      applied[origin].add(Number(number))
    }
    more = page.more === true
    key = `${keys.at(-1)}\0`
  }
  return JSON.parse(JSON.stringify(applied))
}

async function post(url, path, body) {
  const response = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) })
  return response.json()
}

async function connect({ id, url }) {
  const { Etcd3 } = requirePackage('etcd3')
  const client = new Etcd3({ hosts: url[id] })
  const acknowledged = new Seen()
  let sequence = 0
  return {
    origin: id,
    acknowledged,
    /** Its own lock: a key below a lease, which the client polls for. */
    acquire: async key => {
      for (;;) {
        try {
          const lock = await client.lock(`l/${key}`).ttl(LEASE_SECONDS).acquire()
          return () => lock.release()
        } catch (error) {
          if (error.name !== 'EtcdLockFailedError') throw error
          await delay(RETRY_MS)
        }
      }
    },
    perform: async () => {
      const number = ++sequence
      await client.put(`b/${id}/${number}`).value('x')
      acknowledged.add(number)
    }
  }
}
