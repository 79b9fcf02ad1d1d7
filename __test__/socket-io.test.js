/**
 * Shows that nodes meet at a real server of socket.io, as in conflux 1.x: in processes of their own, while that
 * server is killed, frozen, replaced, or attacked by other clients.
 */
'use strict'

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const test = require('node:test')
const { Server } = require('socket.io')
const { io } = require('socket.io-client')

const conflux = require('..')
const { prepareCore } = require('../lib/core')
const { check } = require('../lib/options')
const { enhanceServerForSocketIOChannel } = require('../socket.io')
const { channelContract } = require('../testing')
const { Cluster } = require('./cluster')
const { elected, list, openNode, rejection, until } = require('./nodes')
const { makeEmptyProject, installPackage, root } = require('./project')

/** A server in this process. */
async function listen(t, make = server => enhanceServerForSocketIOChannel(server)) {
  const server = http.createServer()
  const close = make(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const host = `http://127.0.0.1:${server.address().port}`
  t?.after(() => close())
  return { server, host, close }
}

/** A server in a process of its own. */
async function startServer(t, port = 0) {
  const child = fork(path.join(__dirname, 'socket-io-server.js'), [String(port)], {
    env: { ...process.env, NODE_TEST_CONTEXT: undefined }
  })
  t.after(() => child.kill('SIGKILL'))
  const [message] = await once(child, 'message')
  const exited = once(child, 'exit')
  return {
    port: message.port,
    host: `http://127.0.0.1:${message.port}`,
    signal: signal => child.kill(signal),
    kill: () => (child.kill('SIGKILL'), exited)
  }
}

const over = (host, channel = 'test') => ({ name: 'socket.io', host, channel })

/** The function `join` that a node of this channel has. */
function joinOf(channel) {
  const options = check({ id: 'a', clusterSize: 1, channel, ...list })
  let found
  const callbacks = { deliver() {}, channelThrew() {}, fault() {} }
  prepareCore(options, (text, deliver, credentials, notify) => (found = { notify }), callbacks)()
  assert.equal(typeof found.notify, 'function')
  const { joinOfSocketIO } = require('../lib/socket-io-channel')
  return joinOfSocketIO(options.channel)
}

channelContract(
  async () => {
    const { host, close } = await listen()
    return { join: joinOf(over(host, 'here')), elsewhere: joinOf(over(host, 'there')), close }
  },
  { test: (statement, run) => test(`socket.io: ${statement}`, run) }
)

test('processes keep every promise over socket.io: kill -9 of the leader in mid-burst', async t => {
  const server = await startServer(t)
  const cluster = new Cluster(undefined, { options: { channel: over(server.host) } })
  t.after(() => cluster.kill())
  const leader = await cluster.leader()
  cluster.load()
  await cluster.acknowledgements(500)
  await leader.kill()
  await cluster.acknowledgements(200, entry => entry.leader !== null && entry.leader !== leader.id)
  const { acknowledged } = await cluster.settle()
  t.diagnostic(`${acknowledged} acknowledged`)
  await cluster.close()
})

test('the server is killed, and frozen, under load: nodes say so, and continue when it returns', async t => {
  const server = await startServer(t)
  const cluster = new Cluster(undefined, { options: { channel: over(server.host) } })
  t.after(() => cluster.kill())
  await cluster.leader()
  cluster.load()
  await cluster.acknowledgements(200)
  const heardOf = (code, count) => () =>
    cluster.living.every(({ warnings }) => warnings.filter(warning => warning.code === code).length >= count)

  await server.kill()
  await until('each node has warned', heardOf('WARN_CONFLUX_CHANNEL_BROKEN', 1))
  const again = await startServer(t, server.port)
  await until('each node has it back', heardOf('WARN_CONFLUX_CHANNEL_RESTORED', 1))
  await cluster.acknowledgements(200)

  again.signal('SIGSTOP')
  await until('each node has noticed', heardOf('WARN_CONFLUX_CHANNEL_BROKEN', 2))
  again.signal('SIGCONT')
  await cluster.acknowledgements(200)
  await cluster.settle()
  await cluster.close()
  const { message } = cluster.members[0].warnings.find(({ code }) => code === 'WARN_CONFLUX_CHANNEL_BROKEN')
  assert.ok(message.includes(`the socket.io server ${server.host}/conflux: `), message)
})

test('a node waits for a server that is not there yet, and closes without one', async t => {
  const { server, host, close } = await listen(t)
  await close()
  assert.equal(server.listening, false)
  const port = Number(new URL(host).port)
  const warnings = []
  const options = { clusterSize: 1, channel: over(host), ...list }
  const waiting = openNode(t, { ...options, id: 'a' })
  waiting.on('warning', warning => warnings.push(warning))
  const closing = openNode(t, { ...options, id: 'b' })
  await until('the warning', () => warnings.length > 0)
  assert.equal(warnings[0].code, 'WARN_CONFLUX_CHANNEL_BROKEN')
  await closing.close({ timeout: 50 })
  const later = http.createServer()
  const closeLater = enhanceServerForSocketIOChannel(later)
  t.after(closeLater)
  later.listen(port, '127.0.0.1')
  await waiting.perform('append', [1])
})

test('a server of socket.io that is the application’s own is used beside its other clients', async t => {
  let own
  const { host, close } = await listen(t, server => {
    own = new Server(server)
    own.on('connection', socket => socket.on('question', answer => answer('answer')))
    const closeChannel = enhanceServerForSocketIOChannel(own)
    return async () => {
      await closeChannel()
      await own.close()
    }
  })
  const nodes = ['a', 'b'].map(id => openNode(t, { id, clusterSize: 2, channel: over(host), ...list }))
  const client = io(host)
  t.after(() => client.disconnect())
  assert.equal(await client.emitWithAck('question'), 'answer')
  for (let i = 0; i < 20; i++) await nodes[i % 2].perform('append', [i])
  await Promise.all(nodes.map(node => node.close()))
  assert.ok(client.connected)
  await close()
})

test('a server without the channel, one that refuses, and one that never answers are named', async t => {
  const makers = {
    'Invalid namespace': server => new Server(server),
    'not without a ticket': server => {
      const own = new Server(server)
      own.of('/conflux').use((socket, next) => next(new Error('not without a ticket')))
      enhanceServerForSocketIOChannel(own)
      return own
    },
    'it does not answer: has it called `enhanceServerForSocketIOChannel`?': server => {
      const own = new Server(server)
      own.of('/conflux')
      return own
    }
  }
  for (const [cause, make] of Object.entries(makers)) {
    let own
    const { host } = await listen(t, server => {
      own = make(server)
      return () => own.close()
    })
    const warnings = []
    const node = openNode(t, { id: 'a', clusterSize: 1, channel: over(host), ...list })
    node.on('warning', warning => warnings.push(warning))
    await until(cause, () => warnings.length > 0)
    assert.equal(warnings[0].cause, `the socket.io server ${host}/conflux: ${cause}`)
    await node.close({ timeout: 50 })
  }
})

test('the options reach socket.io-client', async t => {
  const tickets = []
  const { host } = await listen(t, server => {
    const own = new Server(server, { path: '/elsewhere', maxHttpBufferSize: 16 << 20 })
    own.of('/conflux').use((socket, next) => {
      tickets.push(socket.handshake.auth.ticket)
      next()
    })
    const close = enhanceServerForSocketIOChannel(own)
    return async () => {
      await close()
      await own.close()
    }
  })
  const options = { path: '/elsewhere', auth: { ticket: 7 } }
  const channel = { ...over(host), options }
  const node = openNode(t, { id: 'a', clusterSize: 1, channel, ...list })
  await node.perform('append', ['x'.repeat(1_000_000)])
  assert.deepEqual(tickets, [7])
})

test('what other clients send harms neither the server nor the nodes', async t => {
  const { host } = await listen(t)
  const nodes = ['a', 'b', 'c'].map(id => openNode(t, { id, clusterSize: 3, channel: over(host), ...list }))
  const { leader } = await elected(nodes)
  const client = io(`${host}/conflux`, { forceNew: true })
  t.after(() => client.disconnect())
  await once(client, 'connect')
  const bytes = Buffer.from('no frame')
  const values = [
    undefined,
    null,
    1,
    '',
    'test',
    {},
    [],
    bytes,
    new Map(),
    'x'.repeat(1000),
    { toString: null }
  ]
  const say = () => {
    for (const event of ['join', 'send', 'broadcast', 'received', 'frame', 'nonsense']) {
      client.emit(event)
      for (const one of values) {
        client.emit(event, one)
        for (const other of values) {
          client.emit(event, one, other)
          client.emit(event, one, other, bytes)
        }
      }
    }
  }
  say()
  // As a member of the channel.
  client.emit('join', 'test', 'stranger', () => {})
  say()
  for (const { incarnation } of nodes.map(node => node.status())) client.emit('send', incarnation, bytes)
  await client.timeout(10_000).emitWithAck('join', 'test', leader.status().incarnation)
  say()
  await client.timeout(10_000).emitWithAck('join', 'elsewhere', 'x')
  for (const node of nodes) await node.perform('append', [node.status().id])
  assert.ok(nodes.every(node => node.status().state === 'open'))
})

test('a server that sends nonsense does not end a node', async t => {
  const { host } = await listen(t, server => {
    const own = new Server(server)
    own.of('/conflux').on('connection', socket => {
      socket.on('join', (channel, self, acknowledge) => acknowledge(1, 2, 3))
      for (const event of ['frame', 'received', 'connect_error', 'error', 'x']) {
        try {
          for (const value of [undefined, null, 1, 'text', {}, [], Buffer.from('x')])
            socket.emit(event, value)
        } catch {
          // Reserved.
        }
      }
    })
    return () => own.close()
  })
  const node = openNode(t, { id: 'a', clusterSize: 1, channel: over(host), ...list })
  await node.perform('append', [1])
})

test('nodes of one process and one server do not meet on two channels', async t => {
  const { host } = await listen(t)
  const nodes = ['one', 'two'].map(channel =>
    openNode(t, { id: 'a', clusterSize: 1, channel: over(host, channel), ...list })
  )
  for (const node of nodes) await node.perform('append', [1])
  assert.notEqual(nodes[0].status().cluster, nodes[1].status().cluster)
})

test('the function that is returned closes the server, calls back, and may be called twice', async t => {
  const { server, host, close } = await listen(t)
  const node = openNode(t, { id: 'a', clusterSize: 1, channel: over(host), ...list })
  await node.ready()
  const calledBack = new Promise(resolve => close(resolve))
  await close()
  await calledBack
  assert.equal(server.listening, false)
  // It never listened.
  await enhanceServerForSocketIOChannel(http.createServer())()
})

test('what is no server is refused', () => {
  for (const value of [undefined, null, 8000, 'http://localhost:8000', {}, () => {}]) {
    assert.throws(() => enhanceServerForSocketIOChannel(value), {
      code: 'ERR_CONFLUX_INVALID_ARGUMENT',
      message: '`enhanceServerForSocketIOChannel` takes a server of node:http or of socket.io'
    })
  }
  assert.throws(
    () => enhanceServerForSocketIOChannel(new Server(), { path: '/x' }),
    /the options are those of/
  )
})

test('without socket.io-client, or with that of 1.x, the error says what to install', async t => {
  const folder = makeEmptyProject(t)
  installPackage(folder)
  const file = path.join(folder, 'app.js')
  fs.writeFileSync(
    file,
    `
    const conflux = require('conflux')
    const { enhanceServerForSocketIOChannel } = require('conflux/socket.io')
    const options = { id: 'a', clusterSize: 1, methods: {}, reduce: () => 0 }
    const message = work => { try { work() } catch (error) { return error.code + ' ' + error.message } }
    console.log(JSON.stringify([
      message(() => conflux({ ...options, channel: { name: 'socket.io', host: 'http://localhost:1' } })),
      message(() => enhanceServerForSocketIOChannel(require('node:http').createServer()))
    ]))`
  )
  const { execFileSync } = require('node:child_process')
  const run = () => JSON.parse(execFileSync(process.execPath, [file], { cwd: folder, encoding: 'utf8' }))
  const messages = found => [
    `ERR_CONFLUX_INVALID_OPTIONS Invalid options: "channel.name": "socket.io" needs the package socket.io-client 4: ` +
      `\`npm install socket.io-client@4\` (${found})`,
    'ERR_CONFLUX_INVALID_OPTIONS Invalid options: `enhanceServerForSocketIOChannel` needs the package socket.io 4: ' +
      `\`npm install socket.io@4\` (${found})`
  ]
  assert.deepEqual(run(), messages('it is not installed'))
  for (const name of ['socket.io', 'socket.io-client']) {
    const old = path.join(folder, 'node_modules', name)
    fs.mkdirSync(old, { recursive: true })
    fs.writeFileSync(path.join(old, 'package.json'), '{ "version": "1.7.4" }')
  }
  assert.deepEqual(run(), messages('version 1.7.4 is installed'))
})

test('two nodes with one id: the error names the option that keeps them apart', async t => {
  const { host } = await listen(t)
  const first = openNode(t, { id: 'a', clusterSize: 1, channel: over(host), ...list })
  await first.ready()
  const second = conflux({ id: 'a', clusterSize: 1, channel: over(host), ...list })
  const [error] = await once(second, 'error')
  assert.match(error.message, /Both use channel "test" of the socket\.io channel: .* need a `channel` each/)
  assert.equal((await rejection(second.ready())).code, 'ERR_CONFLUX_DUPLICATE_ID')
})

test('the page prints the server and the node that work', async t => {
  const page = fs.readFileSync(path.join(root, 'docs', 'channels.md'), 'utf8')
  const [, server] = /^```js\n\/\/ server\.js\n([^]*?)^```$/m.exec(page)
  const [, node] = /^```js\n\/\/ node\.js\n([^]*?)^```$/m.exec(page)
  const { host, close } = await listen(t)
  await close()
  const { port } = new URL(host)
  const folder = makeEmptyProject(t)
  const run = (name, code) => {
    const file = path.join(folder, name)
    const here = code
      .replaceAll('8000', port)
      .replace("'conflux'", JSON.stringify(root))
      .replace("'conflux/socket.io'", JSON.stringify(path.join(root, 'socket.io.js')))
    fs.writeFileSync(file, here + (name === 'server.js' ? '' : `node.perform('append', ['${name}'])`))
    const child = fork(file, { env: { ...process.env, NODE_TEST_CONTEXT: undefined }, silent: true })
    t.after(() => child.kill('SIGKILL'))
    return child
  }
  const relay = run('server.js', server)
  const outputs = ['one.js', 'two.js', 'three.js'].map(name => {
    const output = []
    run(name, node).stdout.on('data', data => output.push(String(data)))
    return output
  })
  const isComplete = output => ['one.js', 'two.js', 'three.js'].every(name => output.join('').includes(name))
  await until('three processes have it', () => outputs.every(isComplete))
  relay.kill('SIGTERM')
})
