/**
 * Holds that conflux lives with Redis as it is operated: failovers that keep old sockets open, passwords that
 * rotate, servers that are full, users with few rights, certificates of one's own.
 */
'use strict'

const assert = require('node:assert/strict')
const { execFile } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const test = require('node:test')
const { promisify } = require('node:util')

const conflux = require('..')
const { freePort, startRedisServer } = require('../scripts/redis-server')
const { until } = require('./cluster')

const counter = {
  methods: {
    next() {
      return { n: this.getProvisionalState() + 1 }
    }
  },
  reduce: (state = 0, action) => (action ? action.n : state)
}

async function startRedis(t, options) {
  const redis = await startRedisServer(options)
  t.after(() => redis.kill())
  return redis
}

/** A node with a list of its warnings. */
function open(t, id, channel, options) {
  const node = conflux({ id, clusterSize: 3, channel: { name: 'redis', ...channel }, ...counter, ...options })
  const warnings = []
  node.on('warning', warning => warnings.push(warning))
  t.after(() => node.close())
  return Object.assign(node, { warnings })
}

const codesOf = node => node.warnings.map(({ code }) => code)
const causesOf = node => node.warnings.flatMap(({ cause }) => cause ?? []).join('\n')

/** A primary and its replica, behind a name that leads to the one or the other; open connections stay where they are. */
async function startPair(t) {
  const servers = [await startRedis(t), await startRedis(t)]
  const pair = { servers, primary: servers[0] }
  const front = net.createServer(socket => {
    const server = net.connect(pair.primary.port, '127.0.0.1')
    socket.pipe(server).pipe(socket)
    for (const [one, other] of [
      [socket, server],
      [server, socket]
    ]) {
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
    }
  })
  await once(front.listen(0, '127.0.0.1'), 'listening')
  pair.port = front.address().port
  t.after(() => front.close())
  pair.failover = async () => {
    const [former, next] = pair.primary === servers[0] ? servers : [servers[1], servers[0]]
    await next.command('REPLICAOF', 'NO', 'ONE')
    await former.command('REPLICAOF', '127.0.0.1', String(next.port))
    pair.primary = next
    await isReplica(former)
  }
  await servers[1].command('REPLICAOF', '127.0.0.1', String(servers[0].port))
  await isReplica(servers[1])
  return pair
}

const isReplica = redis =>
  until('the replica to be level', async () =>
    (await redis.command('INFO', 'replication')).includes('master_link_status:up')
  )

test('a failover that keeps old sockets open leaves one cluster, also when new nodes start meanwhile', async t => {
  const pair = await startPair(t)
  const channel = { port: pair.port }
  const old = ['a', 'b', 'c'].map(id => open(t, id, channel))
  await Promise.all(old.map(node => node.ready({ timeout: 10_000 })))
  const tickets = [(await old[0].perform('next')).n]
  const fresh = []
  for (let i = 0; i < 3; i++) {
    await pair.failover()
    const newcomers = ['d', 'e', 'f'].map(id => open(t, `${id}${i}`, channel))
    fresh.push(...newcomers)
    await Promise.all(newcomers.map(node => node.ready({ timeout: 15_000 })))
    for (const node of [old[1], newcomers[1]]) tickets.push((await node.perform('next', [], 5000)).n)
  }
  assert.deepEqual(tickets, [1, 2, 3, 4, 5, 6, 7])
  assert.equal(new Set([...old, ...fresh].map(node => node.status().cluster)).size, 1)
  for (const node of old) assert.match(causesOf(node), /is a replica/)
})

test('a node that connects to a replica reports it, with or without the right to ask for the role', async t => {
  const pair = await startPair(t)
  const [, replica] = pair.servers
  await replica.command('ACL', 'SETUSER', 'few', 'on', '>pw', '-@all', '+publish', '+subscribe', '&conflux:*')
  for (const login of [{}, { username: 'few', password: 'pw' }]) {
    const node = open(t, 'a', { port: replica.port, ...login }, { clusterSize: 1 })
    await until('a warning', () => node.warnings.length > 0)
    assert.equal(node.warnings[0].code, 'WARN_CONFLUX_CHANNEL_BROKEN')
    assert.match(node.warnings[0].cause, /is a replica: PUBLISH there reaches only/)
    assert.equal(node.status().cluster, null)
  }
})

test('all processes of a cluster that dies at once found another one soon after', async t => {
  const redis = await startRedis(t)
  const script = `
    const conflux = require(${JSON.stringify(path.join(__dirname, '..'))})
    const node = conflux({ id: 'a', clusterSize: 1, channel: { name: 'redis', port: ${redis.port} }, methods: {}, reduce: () => 1 })
    node.ready().then(() => setTimeout(() => process.kill(process.pid, 'SIGKILL'), 600))`
  await promisify(execFile)(process.execPath, ['-e', script]).catch(error =>
    assert.equal(error.signal, 'SIGKILL')
  )
  const node = open(t, 'a', { port: redis.port }, { clusterSize: 1 })
  await node.ready({ timeout: 10_000 })
})

test('a password that rotates under load loses no call', async t => {
  let password = 'token-1'
  const redis = await startRedis(t)
  const setPassword = () =>
    redis.command('ACL', 'SETUSER', 'app', 'on', 'resetpass', `>${password}`, '~*', '&*', '+@all')
  await setPassword()
  let asked = 0
  const functions = [() => (asked++, password), async () => password, async () => password]
  const nodes = functions.map((ask, i) =>
    open(t, 'abc'[i], { port: redis.port, username: 'app', password: ask })
  )
  await Promise.all(nodes.map(node => node.ready({ timeout: 10_000 })))
  for (let i = 2; i <= 4; i++) {
    const calls = nodes.flatMap(node => Array.from({ length: 50 }, () => node.perform('next')))
    password = `token-${i}`
    await setPassword()
    await redis.command('CLIENT', 'KILL', 'USER', 'app')
    await Promise.all(calls)
    await Promise.all(nodes.map(node => node.perform('next')))
  }
  assert.ok(asked >= 4, `asked ${asked} times`)
  await until('the last action everywhere', () => nodes.every(node => node.getState() === 3 * 153))
})

test('a function for a password that fails is the cause, without any password', async t => {
  const redis = await startRedis(t)
  const failing = {
    'the vault is sealed': () => {
      throw new Error('the vault is sealed')
    },
    'no lease': async () => Promise.reject(new Error('no lease')),
    'must return a string': () => 42,
    'threw: ': () => ({
      get then() {
        throw new Error('a getter')
      }
    })
  }
  for (const [cause, password] of Object.entries(failing)) {
    const node = open(t, 'a', { port: redis.port, username: async () => 'user', password })
    await until('a warning', () => node.warnings.some(({ cause }) => cause !== undefined))
    assert.match(causesOf(node), new RegExp(cause))
  }
})

test('the words of a server that is full reach the warning, and each outage has its two ends', async t => {
  const redis = await startRedis(t)
  const node = open(t, 'a', { port: redis.port }, { clusterSize: 1 })
  await node.ready({ timeout: 10_000 })
  // The only client for which there is room.
  const admin = net.connect(redis.port, '127.0.0.1')
  t.after(() => admin.destroy())
  for (let i = 0; i < 3; i++) {
    const before = node.warnings.length
    const sinceThen = () => node.warnings.slice(before)
    admin.write('CONFIG SET maxclients 1\r\nCLIENT KILL TYPE pubsub\r\n')
    await until('the words of the server', () =>
      sinceThen().some(({ cause }) => cause?.includes('max number of clients'))
    )
    admin.write('CONFIG SET maxclients 100\r\n')
    await until('the other end', () =>
      sinceThen().some(({ code }) => code === 'WARN_CONFLUX_CHANNEL_RESTORED')
    )
  }
  const ends = codesOf(node).filter(code => /CHANNEL_(BROKEN|RESTORED)$/.test(code))
  const pair = ['WARN_CONFLUX_CHANNEL_BROKEN', 'WARN_CONFLUX_CHANNEL_RESTORED']
  assert.deepEqual(ends, [...pair, ...pair, ...pair])
})

test('the rights that the docs list suffice, and one that lacks is named with its topics', async t => {
  const redis = await startRedis(t)
  const page = fs.readFileSync(path.join(__dirname, '../docs/redis.md'), 'utf8')
  const rules = page.match(/^ACL SETUSER (.*)$/gm).map(line => line.split(' ').slice(3))
  assert.ok(rules.length >= 2)
  for (const [i, rule] of rules.entries()) {
    const username = `user-${i}`
    await redis.command(
      'ACL',
      'SETUSER',
      username,
      ...rule.map(word => word.replace(/^>.*/, '>pw').replaceAll('orders', username))
    )
    const channel = { port: redis.port, username, password: 'pw', channelName: username }
    const nodes = ['a', 'b', 'c'].map(id => open(t, id, channel))
    await Promise.all(nodes.map(node => node.ready({ timeout: 10_000 })))
    assert.equal((await nodes[1].perform('next')).n, 1)
    const stranger = open(t, 'd', { ...channel, channelName: 'another' })
    await until('a warning', () => stranger.warnings.length > 0)
    assert.match(causesOf(stranger), /`conflux:0:another`.*NOPERM/)
  }
})

test('parameters of a connection string are obeyed or refused', () => {
  const create = connectionString =>
    conflux({ id: 'a', clusterSize: 1, channel: { name: 'redis', connectionString }, ...counter })
  for (const [text, named] of [
    ['redis://127.0.0.1?protocol=resp3', /`protocol`/],
    ['redis://127.0.0.1/0?db=1', /`db`/],
    ['rediss://127.0.0.1?timeout=5', /`timeout`/],
    ['unix:///run/redis.sock?db=0&family=4', /`family`/],
    ['redis://127.0.0.1#insecure', /fragment/]
  ]) {
    assert.throws(
      () => create(text),
      error => error.code === 'ERR_CONFLUX_INVALID_OPTIONS' && named.test(error.message)
    )
  }
  assert.throws(
    () => create('redis://user:12?secret@host'),
    error => !error.message.includes('secret')
  )
})

test('NODE_EXTRA_CA_CERTS counts, as in the TLS of Node', async t => {
  const data = path.join(__dirname, '../src/channel/redis/testdata')
  const file = name => path.join(data, `${name}.pem`)
  const tls = [
    '--tls-ca-cert-file',
    file('ca'),
    '--tls-cert-file',
    file('certificate'),
    '--tls-key-file',
    file('key')
  ]
  const port = await freePort()
  const secure = await startRedisServer({
    settings: [...tls, '--tls-auth-clients', 'no', '--tls-port', String(port)]
  })
  t.after(() => secure.kill())
  const script = `
    const conflux = require(${JSON.stringify(path.join(__dirname, '..'))})
    const node = conflux({
      id: 'a', clusterSize: 1, methods: {}, reduce: () => 1,
      // One of its own: there is no former cluster to warn of.
      channel: { name: 'redis', connectionString: 'rediss://127.0.0.1:${port}', channelName: String(process.pid) }
    })
    node.on('warning', ({ cause }) => { console.log(cause); node.close() })
    node.ready().then(() => { console.log('ready'); node.close() }, () => {})`
  const say = async env => {
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], {
      env: { ...process.env, ...env }
    })
    return stdout.split('\n')[0]
  }
  assert.match(await say({ NODE_EXTRA_CA_CERTS: '' }), /UnknownIssuer/)
  assert.equal(await say({ NODE_EXTRA_CA_CERTS: file('ca') }), 'ready')
  assert.equal(await say({ NODE_OPTIONS: '--use-openssl-ca', SSL_CERT_FILE: file('ca') }), 'ready')
})
