/**
 * `channel.tls` of the channel `tcp`: the authority, the certificates and the secret of a cluster are replaced under load
 * without a failed call, and a client with another certificate has no effect. Real processes, real certificates that
 * expire.
 */
'use strict'

const assert = require('node:assert/strict')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')
const tls = require('node:tls')

const { freePorts } = require('../benches/ports')
const { Authority } = require('./authority')
const { Cluster, until } = require('./cluster')
const { list, makeFolder, openNode } = require('./nodes')

/** Connections are renewed from 30 s before a certificate expires. */
const SHORT_LIFETIME_MS = 36_000
const [OLD, NEW] = ['old', 'new'].map(id => ({ id, secret: `${id}: ${'0123456789abcdef'.repeat(2)}` }))

function folder(t) {
  const made = makeFolder(t)
  return made
}

/** The files of a node: a writer replaces each one as a whole, as `mv` does. */
class Files {
  #folder

  constructor(folder) {
    this.#folder = folder
    fs.mkdirSync(folder, { recursive: true })
  }

  write(files) {
    for (const [name, text] of Object.entries(files)) {
      fs.writeFileSync(this.#path(`${name}.new`), text)
      fs.renameSync(this.#path(`${name}.new`), this.#path(name))
    }
    return this
  }

  /** The option `tls`. */
  get options() {
    return {
      cert: this.#path('cert'),
      key: this.#path('key'),
      ca: this.#path('ca'),
      allow: ['node.internal', 'next.internal']
    }
  }

  #path(name) {
    return path.join(this.#folder, `${name}.pem`)
  }
}

test('authority, certificates and secret are replaced under load without a failed call', async t => {
  const made = folder(t)
  const [former, next] = [await Authority.create('former'), await Authority.create('next')]
  const ids = ['node-1', 'node-2', 'node-3']
  const addresses = (await freePorts(ids.length)).map(port => `127.0.0.1:${port}`)
  const files = Object.fromEntries(ids.map(id => [id, new Files(path.join(made, id))]))
  let expiry = 0
  for (const id of ids) {
    files[id].write({ ca: former.cert, ...(await former.issue('node.internal', SHORT_LIFETIME_MS)) })
    expiry = Date.now() + SHORT_LIFETIME_MS
  }
  const channel = id => ({
    name: 'tcp',
    listen: addresses[ids.indexOf(id)],
    peers: addresses,
    tls: files[id].options,
    secret: [OLD]
  })
  const cluster = new Cluster(undefined, { options: { channel } })
  t.after(() => cluster.kill())
  await cluster.whole()
  cluster.load({ inFlight: 20 })
  await cluster.acknowledgements(200)

  const replace = async write => {
    for (const id of ids) {
      await write(id)
      await cluster.acknowledgements(50)
    }
  }
  const rotate = async secret => {
    for (const member of cluster.living) {
      await member.ask('setSecret', secret)
      await cluster.acknowledgements(50)
    }
  }
  await replace(id => files[id].write({ ca: former.cert + next.cert }))
  await rotate([OLD, NEW])
  // Between the two files there is a moment in which they do not match.
  await replace(async id => files[id].write(await next.issue('next.internal')))
  await rotate([NEW, OLD])

  // The connections of the former certificates outlive their expiry only if they were opened anew.
  await delay(Math.max(0, expiry + 2_000 - Date.now()))
  await cluster.acknowledgements(200)
  await replace(id => files[id].write({ ca: next.cert }))
  await rotate([NEW])
  await cluster.acknowledgements(200)

  // A process that starts now finds only what is new.
  await (await cluster.leader()).kill()
  await cluster.acknowledgements(200)
  const { id } = cluster.members.find(member => !member.isAlive)
  const back = cluster.start(id, { channel: { ...channel(id), secret: [NEW] } })
  await cluster.whole()
  back.load({ inFlight: 20 })
  await cluster.acknowledgements(200, ({ origin }) => origin === undefined || origin === back.origin)
  // `settle` asserts that no call of a living node was rejected.
  const { acknowledged } = await cluster.settle()
  t.diagnostic(`${acknowledged} acknowledged, 0 failed, 0 lost`)
  await cluster.close()
})

test('a node with another certificate is refused, and both sides name the reason', async t => {
  const made = folder(t)
  const [ours, theirs] = [await Authority.create('ours'), await Authority.create('theirs')]
  const [port, ...others] = await freePorts(4)
  const open = (id, listen, peers, authority, pair) => {
    const { options } = new Files(path.join(made, id)).write({ ca: authority.cert, ...pair })
    const channel = { name: 'tcp', listen, peers, tls: options }
    return openNode(t, { id, clusterSize: 1, channel, ...list })
  }
  const node = open('a', port, [], ours, await ours.issue('node.internal'))
  await node.ready()
  const causes = []
  node.on('warning', ({ code, cause }) => code === 'WARN_CONFLUX_PEER_REFUSED' && causes.push(cause))
  const { term } = node.status()

  const strangers = [
    [
      theirs,
      await theirs.issue('node.internal'),
      /is of none of the authorities in .*ca\.pem/,
      /: UnknownCA$/
    ],
    [
      ours,
      await ours.issue('web.internal'),
      /cert\.pem\): HandshakeFailure$/,
      /names \[web\.internal\] are not in/
    ],
    [
      ours,
      await ours.issue('node.internal', -1_000),
      /cert\.pem\): CertificateExpired$/,
      /certificate expired/
    ]
  ]
  for (const [i, [authority, pair, atStranger, atNode]] of strangers.entries()) {
    const stranger = open(`stranger ${i}`, others[i], [`127.0.0.1:${port}`], authority, pair)
    for (;;) {
      const [{ code, cause }] = await once(stranger, 'warning')
      if (code !== 'WARN_CONFLUX_PEER_REFUSED') continue
      assert.match(cause, atStranger)
      break
    }
    await until('the node to report it as well', () => causes.some(cause => atNode.test(cause)))
    await stranger.close()
  }

  // One that speaks TLS and nothing else, with a valid certificate and without one.
  for (const pair of [await ours.issue('node.internal'), {}]) {
    const socket = tls.connect({
      host: '127.0.0.1',
      port,
      ca: ours.cert,
      ...pair,
      checkServerIdentity: () => {}
    })
    socket.on('error', () => {}).on('secureConnect', () => socket.write(Buffer.alloc(100_000, 0xc3)))
    await new Promise(resolve => socket.on('close', resolve))
  }
  assert.equal(await node.perform('append', ['x']), 'x')
  assert.equal(node.status().term, term)
  assert.deepEqual(
    node.status().members.map(({ id }) => id),
    ['a']
  )
})
