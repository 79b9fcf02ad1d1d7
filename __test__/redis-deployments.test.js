/**
 * Redis as it is deployed: Sentinels with a failover, a Redis Cluster of three primaries, options with the names of ioredis
 * and node-redis. Each test starts real servers.
 */
'use strict'

const assert = require('node:assert/strict')
const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const conflux = require('..')
const { RedisServer, freePort, obtainRedisServer, startRedisServer } = require('../scripts/redis-server')
const { Authority } = require('./authority')
const { until } = require('./cluster')

const counter = {
  methods: {
    next() {
      return { n: this.getProvisionalState() + 1 }
    }
  },
  reduce: (state = 0, action) => (action ? action.n : state)
}

/** A node with a list of its warnings. */
function open(t, id, channel, options) {
  const node = conflux({ id, clusterSize: 3, channel: { name: 'redis', ...channel }, ...counter, ...options })
  const warnings = []
  node.on('warning', warning => warnings.push(warning))
  t.after(() => node.close())
  return Object.assign(node, { warnings })
}

const causesOf = node => node.warnings.flatMap(({ cause }) => cause ?? []).join('\n')

async function startRedis(t, settings = [], options = {}) {
  const redis = await startRedisServer({ settings, ...options })
  t.after(() => redis.kill())
  return redis
}

const TESTDATA = path.join(__dirname, '../src/channel/redis/testdata')
const pem = name => path.join(TESTDATA, `${name}.pem`)

/** What a client of such servers needs: they ask for a certificate, and theirs is of an authority that is not public. */
const CLIENT_TLS = { ca: read('ca'), cert: read('certificate'), key: read('key') }

function read(name) {
  return fs.readFileSync(pem(name), 'utf8')
}

/** The settings of a server that also takes TLS connections on `port`. */
const tlsSettings = port => [
  ...['tls-port', port],
  ...['tls-ca-cert-file', pem('ca')],
  ...['tls-cert-file', pem('certificate')],
  ...['tls-key-file', pem('key')],
  ...['tls-auth-clients', 'yes']
]

/** `['a', 1]` as arguments: `['--a', '1']`. */
const asArguments = settings => settings.map((setting, i) => (i % 2 === 0 ? `--${setting}` : String(setting)))

/** `['a', 1]` as the lines of a file. */
const asLines = settings => settings.flatMap((name, i) => (i % 2 === 0 ? `${name} ${settings[i + 1]}` : []))

/** Three Sentinels that watch the primary; they take it for dead after half a second. */
async function startSentinels(t, primary, password, tls = () => []) {
  const program = obtainRedisServer()
  const sentinels = []
  for (let i = 0; i < 3; i++) {
    const port = await freePort()
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-sentinel-'))
    const file = path.join(folder, 'sentinel.conf')
    fs.writeFileSync(
      file,
      [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${folder}`,
        `requirepass "${password}"`,
        `sentinel sentinel-pass "${password}"`,
        `sentinel monitor orders 127.0.0.1 ${primary.port} 2`,
        'sentinel down-after-milliseconds orders 500',
        'sentinel failover-timeout orders 2000',
        ...asLines(tls(port))
      ].join('\n')
    )
    const child = spawn(program, [file, '--sentinel'], { stdio: 'ignore' })
    t.after(async () => {
      const gone = child.exitCode === null && child.signalCode === null && once(child, 'exit')
      child.kill('SIGKILL')
      await gone
      fs.rmSync(folder, { recursive: true, force: true })
    })
    sentinels.push({ host: '127.0.0.1', port, child })
  }
  return sentinels
}

/** Asks a Sentinel; resolves with the raw reply. */
async function ask({ port }, password, ...command) {
  const socket = net.connect(port, '127.0.0.1')
  const packed = parts =>
    `*${parts.length}\r\n${parts.map(part => `$${part.length}\r\n${part}\r\n`).join('')}`
  socket.write(packed(['AUTH', password]) + packed(command))
  let reply = ''
  socket.on('data', data => (reply += data))
  socket.on('error', () => {})
  await new Promise(resolve => {
    socket.once('close', resolve)
    const poll = setInterval(() => {
      if (!/^\+OK\r\n./s.test(reply)) return
      clearInterval(poll)
      socket.destroy()
    }, 10)
    socket.once('close', () => clearInterval(poll))
  })
  return reply.replace(/^\+OK\r\n/, '')
}

test('nodes follow the primary that Sentinels name, over a failover and a change of their mind', async t => {
  const password = 'tops3cret'
  const primary = await startRedis(t)
  const replica = await startRedis(t, ['--replicaof', '127.0.0.1', String(primary.port)])
  const sentinels = await startSentinels(t, primary, password)
  await until('the Sentinels to know all', async () => {
    const replies = await Promise.all(
      sentinels.map(one => ask(one, password, 'SENTINEL', 'master', 'orders'))
    )
    return replies.every(
      reply => /num-slaves\r\n\$1\r\n1\r\n/.test(reply) && /num-other-sentinels\r\n\$1\r\n2\r\n/.test(reply)
    )
  })
  const absent = { host: '127.0.0.1', port: await freePort() }
  const servers = [absent, ...sentinels].map(({ host, port }) => ({ host, port }))
  const channel = { sentinels: servers, masterName: 'orders', sentinelPassword: password }
  const nodes = ['a', 'b', 'c'].map(id => open(t, id, channel))
  await Promise.all(nodes.map(node => node.ready({ timeout: 10_000 })))
  assert.equal((await nodes[0].perform('next')).n, 1)

  // A primary that hangs keeps its connections.
  primary.freeze()
  assert.equal((await nodes[1].perform('next', [], 30_000)).n, 2)
  // The nodes of a process share their connections.
  await until('all nodes to be on the replica', async () => {
    const topics = await replica.command('PUBSUB', 'NUMSUB', 'conflux:0:conflux')
    return topics.includes(':1\r\n')
  })
  primary.thaw()
  assert.equal((await nodes[2].perform('next', [], 30_000)).n, 3)
  assert.equal(new Set(nodes.map(node => node.status().cluster)).size, 1)

  // A primary that was cut off does not know that it is none: only the Sentinels do.
  const other = await startRedis(t)
  // All forget the former primary before one names the other: a Sentinel that knows a later failover corrects the rest.
  for (const sentinel of sentinels) await ask(sentinel, password, 'SENTINEL', 'REMOVE', 'orders')
  for (const sentinel of sentinels) {
    await ask(sentinel, password, 'SENTINEL', 'MONITOR', 'orders', '127.0.0.1', String(other.port), '2')
  }
  await until('all nodes to be on the other server', async () => {
    const topics = await other.command('PUBSUB', 'NUMSUB', 'conflux:0:conflux')
    return topics.includes(':1\r\n')
  })
  assert.equal((await nodes[0].perform('next', [], 30_000)).n, 4)
  assert.match(causesOf(nodes[0]), /is not the primary any more: the Sentinels name 127\.0\.0\.1:/)
  for (const node of nodes) assert.ok(!JSON.stringify(node.warnings).includes(password))
})

test('a node that no Sentinel answers, or that asks for an unknown primary, says so', async t => {
  const primary = await startRedis(t)
  const [sentinel] = await startSentinels(t, primary, 'tops3cret')
  const { host, port } = sentinel
  const dead = { host: '127.0.0.1', port: await freePort() }
  for (const [channel, cause] of [
    [
      { sentinels: [dead] },
      new RegExp(`the primary .mymaster. of the Sentinels .*${dead.port}: .*refused`, 'i')
    ],
    [{ sentinels: [{ host, port }], sentinelPassword: 'tops3cret' }, /it knows no primary `mymaster`/],
    [{ sentinels: [{ host, port }], masterName: 'orders', sentinelPassword: 'wr0ng' }, /WRONGPASS|AUTH/i]
  ]) {
    const node = open(t, 'a', channel, { clusterSize: 1 })
    await until('the cause', () => cause.test(causesOf(node)))
    assert.ok(!causesOf(node).includes('wr0ng'))
  }
})

/** Three primaries that share the slots, and a replica of the one that owns the slot of `key`. */
async function startRedisCluster(t, key, tls = () => []) {
  const servers = []
  for (let i = 0; i < 4; i++) {
    const busPort = await freePort()
    const tlsPort = await freePort()
    const settings = ['--cluster-enabled', 'yes', '--cluster-port', busPort, '--cluster-node-timeout', 1000]
    settings.push(...asArguments(tls(tlsPort)))
    const server = new RedisServer(obtainRedisServer(), await freePort(), { settings })
    t.after(() => server.kill())
    servers.push(Object.assign(await server.start(), { busPort, tlsPort }))
  }
  const primaries = servers.slice(0, 3)
  const [replica] = servers.slice(3)
  for (const [i, range] of [
    [0, 5460],
    [5461, 10_922],
    [10_923, 16_383]
  ].entries()) {
    await primaries[i].command('CLUSTER', 'ADDSLOTSRANGE', ...range.map(String))
  }
  for (const server of servers.slice(1)) {
    await servers[0].command('CLUSTER', 'MEET', '127.0.0.1', String(server.port), String(server.busPort))
  }
  const areLevel = what =>
    until(what, async () => {
      const infos = await Promise.all(servers.map(server => server.command('CLUSTER', 'INFO')))
      return infos.every(info => info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:4'))
    })
  await areLevel('the Redis Cluster')
  const slot = Number((await primaries[0].command('CLUSTER', 'KEYSLOT', key)).slice(1))
  const owner = primaries[Math.min(2, Math.floor(slot / 5461))]
  const ownerId = (await owner.command('CLUSTER', 'MYID')).match(/[0-9a-f]{40}/)[0]
  await until('the replica to know its primary', async () =>
    (await replica.command('CLUSTER', 'REPLICATE', ownerId)).startsWith('+OK')
  )
  await until('the replica to be level', async () =>
    (await replica.command('INFO', 'replication')).includes('master_link_status:up')
  )
  return { primaries, owner, replica }
}

test('nodes meet on a Redis Cluster, and follow the owner of their keys', async t => {
  const key = '{conflux:0:orders}:cluster'
  const { primaries, owner, replica } = await startRedisCluster(t, key)
  // Each knows another node of the Redis Cluster.
  const nodes = ['a', 'b', 'c'].map((id, i) => {
    const { port } = primaries[i]
    const rootNodes = [i === 1 ? { url: `redis://127.0.0.1:${port}` } : { host: '127.0.0.1', port }]
    rootNodes.push({ host: '127.0.0.1', port: replica.port })
    return open(t, id, { channelName: 'orders', rootNodes })
  })
  await Promise.all(nodes.map(node => node.ready({ timeout: 10_000 })))
  assert.equal((await nodes[0].perform('next')).n, 1)
  await until('the marker', async () => (await owner.command('GET', key)).startsWith('$'))
  assert.match(await owner.command('PUBSUB', 'NUMSUB', 'conflux:0:orders'), /:3\r\n/)

  await owner.kill()
  await replica.command('CLUSTER', 'FAILOVER', 'TAKEOVER')
  assert.equal((await nodes[1].perform('next', [], 30_000)).n, 2)
  await until('the marker on the new owner', async () => /^\$[1-9]/.test(await replica.command('GET', key)))
  await until('all nodes to be there', async () =>
    /:3\r\n/.test(await replica.command('PUBSUB', 'NUMSUB', 'conflux:0:orders'))
  )
  assert.equal((await nodes[2].perform('next', [], 30_000)).n, 3)
  assert.equal(new Set(nodes.map(node => node.status().cluster)).size, 1)
})

test('Sentinels and the servers that they name may use TLS, and ask for a certificate', async t => {
  const password = 'tops3cret'
  const tlsPort = await freePort()
  const primary = await startRedis(t, asArguments(tlsSettings(tlsPort)))
  // A Sentinel uses its TLS for the servers that it watches, too.
  const sentinels = await startSentinels(t, { port: tlsPort }, password, port => [
    ...tlsSettings(port),
    ...['port', 0],
    ...['tls-replication', 'yes']
  ])
  const channel = {
    sentinels: sentinels.map(({ host, port }) => ({ host, port })),
    masterName: 'orders',
    sentinelPassword: password,
    tls: CLIENT_TLS
  }
  const nodes = ['a', 'b', 'c'].map(id => open(t, id, { ...channel, sentinelTls: true }))
  await Promise.all(nodes.map(node => node.ready({ timeout: 20_000 })))
  assert.equal((await nodes[0].perform('next')).n, 1)
  assert.match(await primary.command('PUBSUB', 'NUMSUB', 'conflux:0:conflux'), /:1\r\n/)

  const plain = open(t, 'd', channel)
  await until('the cause to name the Sentinels', () => /Sentinels/.test(causesOf(plain)))
  const { cert, key } = await (await Authority.create('another')).issue('localhost')
  const stranger = open(t, 'e', { ...channel, sentinelTls: true, tls: { ca: CLIENT_TLS.ca, cert, key } })
  await until('the refusal of its certificate', () =>
    /certificate|alert|closed|reset/i.test(causesOf(stranger))
  )
})

test('a Redis Cluster may use TLS, and ask for a certificate', async t => {
  const { primaries, owner } = await startRedisCluster(t, '{conflux:0:orders}:cluster', port => [
    ...tlsSettings(port),
    ...['tls-cluster', 'yes'],
    ...['tls-replication', 'yes']
  ])
  const rootNodes = primaries.map(({ tlsPort }) => ({ host: '127.0.0.1', port: tlsPort }))
  const nodes = ['a', 'b', 'c'].map(id => open(t, id, { channelName: 'orders', rootNodes, tls: CLIENT_TLS }))
  await Promise.all(nodes.map(node => node.ready({ timeout: 20_000 })))
  assert.equal((await nodes[0].perform('next')).n, 1)
  assert.match(await owner.command('PUBSUB', 'NUMSUB', 'conflux:0:orders'), /:1\r\n/)
})

test('the option names of ioredis and node-redis lead to the same server', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux socket '))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  const unixSocket = path.join(folder, 'redis.sock')
  const redis = await startRedis(t, process.platform === 'win32' ? [] : ['--unixsocket', unixSocket], {
    password: 'p@ss word'
  })
  const { port } = redis
  const login = { password: 'p@ss word' }
  const channels = [
    { host: '127.0.0.1', port, db: 3, ...login },
    { socket: { host: '127.0.0.1', port }, database: 3, username: 'default', ...login },
    { url: `redis://:p%40ss%20word@127.0.0.1:${port}/3` },
    { path: unixSocket, db: 3, ...login },
    { socket: { path: unixSocket }, database: 3, username: 'default', password: async () => 'p@ss word' }
  ].slice(0, process.platform === 'win32' ? 3 : 5)
  const nodes = channels.map((channel, i) => open(t, `n${i}`, channel, { clusterSize: channels.length }))
  await Promise.all(nodes.map(node => node.ready({ timeout: 10_000 })))
  assert.equal((await nodes[0].perform('next')).n, 1)
})

test('options that contradict one another are refused, without a password', () => {
  const server = { host: 'a' }
  for (const [channel, message] of [
    [
      { url: 'redis://:tops3cret@a', connectionString: 'redis://b' },
      /"channel.url" can't be given beside "channel.conn/
    ],
    [
      { url: 'redis://:tops3cret@a', host: 'b' },
      /"channel.host" can't be given beside "channel.connectionString"/
    ],
    [{ socket: server, host: 'b' }, /"channel.socket.host" can't be given beside "channel.host"/],
    [{ db: 1, database: 1 }, /"channel.database" can't be given beside "channel.db"/],
    [{ path: '/x', port: 1 }, /"channel.path" can't be given beside "channel.port"/],
    [{ sentinels: [server], host: 'b' }, /"channel.sentinels" can't be given beside "channel.host"/],
    [
      { sentinels: [server], rootNodes: [server] },
      /"channel.rootNodes" can't be given beside "channel.sentinels"/
    ],
    [{ sentinels: [server], sentinelTls: true }, /"channel.sentinelTls" needs "channel.tls"/],
    [{ sentinels: [] }, /"channel.sentinels" must be a list of servers/],
    [{ sentinels: [{ port: 1 }] }, /"channel.sentinels\[0\].host" is required/],
    [{ sentinels: [{ hots: 'a' }] }, /"channel.sentinels\[0\].hots" is unknown/],
    [{ rootNodes: [{ url: 'redis://u:tops3cret@a' }] }, /rootNodes\[0\].url" must be redis:\/\/host:port or/],
    [{ rootNodes: [server], db: 1 }, /"channel.db" must be 0 in a Redis Cluster/],
    [{ socket: { tsl: true } }, /"channel.socket.tsl" is unknown/]
  ]) {
    assert.throws(
      () => conflux({ id: 'a', clusterSize: 1, ...counter, channel: { name: 'redis', ...channel } }),
      error => {
        assert.equal(error.code, 'ERR_CONFLUX_INVALID_OPTIONS')
        assert.match(error.message, message)
        assert.ok(!error.message.includes('tops3cret'))
        return true
      }
    )
  }
})
