/**
 * Holds what examples/service.js promises of its end: it is not ready first, answers what is under way, and exits
 * by itself however busy its connections are.
 */
'use strict'

const assert = require('node:assert/strict')
const { once } = require('node:events')
const net = require('node:net')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { startRedisServer } = require('../scripts/redis-server')
const { until } = require('./cluster')
const { makeProject } = require('./project')
const { Service } = require('./service')

// Windows has no signals that one process could send to another and that this one could hear.
const skip = process.platform === 'win32'

/** The example promises two. */
const SECONDS_MAX = 5

async function startServices(t, ids, env = {}) {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const folder = makeProject(t)
  const start = ID => Service.start(t, folder, { REDIS: redis.url, CLUSTER_SIZE: ids.length, ID, ...env })
  const services = await Promise.all(ids.map(start))
  await Promise.all(services.map(service => service.ready()))
  return { services, start, redis }
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(
    `${signal} ends a service under keep-alive traffic, without an error in its answers`,
    { skip },
    async t => {
      const { services } = await startServices(t, ['a', 'b', 'c'])
      const [service, other] = services
      await until('the message to arrive', () => service.messages.includes('ready'))
      const loaded = service.load(20)
      await delay(300)

      const exit = once(service.child, 'exit', { signal: AbortSignal.timeout(SECONDS_MAX * 1000) })
      service.child.kill(signal)
      await until('/ready to say so', async () => (await service.request('GET', '/ready')).status === 503)
      // It still serves: not all who ask know yet.
      assert.equal((await service.request('POST', '/apples')).status, 200)
      // Ctrl-C also reaches what `npm` passes it on to.
      service.child.kill(signal)
      assert.deepEqual(await exit, [0, null])

      const answers = await loaded
      assert.deepEqual(
        answers.filter(({ status }) => status !== 200),
        []
      )
      const { body } = await other.request('GET', '/')
      const counted = answers.filter(({ body }) => body.type === 'COUNTED').length
      assert.ok(body.apples >= counted, `${body.apples} counted, ${counted} acknowledged`)
      assert.equal(service.stderr, '')
    }
  )
}

test('connections that say nothing, or half of a request, keep no service from ending', { skip }, async t => {
  const { services } = await startServices(t, ['a'])
  const [service] = services
  const sockets = ['', 'POST /apples HTTP/1.1\r\nhost: x\r\n', 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'].map(
    text => {
      const socket = net.connect(service.port, '127.0.0.1', () => socket.write(text))
      return socket.on('error', () => {}).resume()
    }
  )
  t.after(() => sockets.forEach(socket => socket.destroy()))
  await delay(200)
  const exit = once(service.child, 'exit', { signal: AbortSignal.timeout(SECONDS_MAX * 1000) })
  service.child.kill('SIGTERM')
  assert.deepEqual(await exit, [0, null])
})
