// Shows that nodes work over an application's own channel, and that nothing which that channel does ends a node
// or its process: it throws, rejects, loses, repeats, reorders, delivers nonsense, or never answers.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const path = require('node:path')
const test = require('node:test')
const { Worker } = require('node:worker_threads')

const conflux = require('..')
const { makeHub, seeded } = require('./channels')
const { broadcastChannel } = require('./docs-channels')
const { elected, list, openNode, rejection, runScript, until } = require('./nodes')

/** All nodes of a cluster over the channels that `channelOf(id)` makes. */
function openAll(t, size, channelOf, options = {}) {
  return Array.from({ length: size }, (_, i) => {
    const id = 'abcde'[i]
    const channel = { name: 'custom', ...channelOf(id) }
    const node = openNode(t, { id, clusterSize: size, channel, ...list, ...options })
    node.warnings = []
    node.on('warning', warning => node.warnings.push(warning))
    return node
  })
}

const codes = node => node.warnings.map(({ code }) => code)

test('three nodes elect, perform and close over a custom channel', async t => {
  const { join, members } = makeHub()
  const nodes = openAll(t, 3, () => ({ join }))
  const { leader, followers } = await elected(nodes)
  for (const node of nodes) await node.perform('append', [node.status().id])
  await until('all have all', () => nodes.every(node => node.getState().length === 3))
  assert.equal(members.size, 3)
  for (const self of members.keys()) assert.match(self, /^[\w-]+$/)
  assert.deepEqual([...members.keys()].sort(), nodes.map(node => node.status().incarnation).sort())
  await leader.close()
  assert.equal(members.size, 2)
  await followers[0].perform('append', ['after the leader'])
  await Promise.all(followers.map(node => node.close()))
  assert.equal(members.size, 0)
  assert.deepEqual(nodes.flatMap(codes), [])
})

for (const seed of [1, 2, 3]) {
  test(`a channel that loses, repeats and reorders (seed ${seed}): every call is applied once`, async t => {
    const { join, counts } = makeHub({ lose: 0.05, repeat: 0.2, delay: 0.3 }, seeded(seed))
    const nodes = openAll(t, 3, () => ({ join }))
    const calls = nodes.flatMap((node, i) =>
      Array.from({ length: 100 }, (_, n) => node.perform('append', [i * 1000 + n]))
    )
    const performed = await Promise.all(calls)
    await Promise.all(nodes.map(node => node.sync()))
    const [first, ...others] = nodes.map(node => node.getState())
    for (const other of others) assert.deepEqual(other, first)
    assert.deepEqual(first.toSorted(), performed.toSorted())
    for (const [fault, count] of Object.entries(counts)) assert.ok(count > 0, `no frame was ${fault}`)
  })
}

test('a large state and large actions pass', async t => {
  const { join } = makeHub()
  const [a, b] = openAll(t, 2, () => ({ join }), { snapshot: { entries: 5 } })
  await elected([a, b])
  const thing = 'x'.repeat(1_000_000)
  for (let i = 0; i < 8; i++) await b.perform('append', [thing])
  await until('there is a snapshot', () => a.status().snapshotIndex > 0)
  const c = openNode(t, { id: 'c', clusterSize: 2, channel: { name: 'custom', join }, ...list })
  await c.ready({ timeout: 20_000 })
  assert.equal(c.getState().length, 8)
})

test('join is a method: `this` is the channel, also of a class', async t => {
  class Channel {
    name = 'custom'
    #hub = makeHub()
    join(self, deliver) {
      return this.#hub.join(self, deliver)
    }
  }
  const node = openNode(t, { id: 'a', clusterSize: 1, channel: new Channel(), ...list })
  await node.perform('append', [1])
})

test('the example of the page connects worker threads', async t => {
  const topic = randomUUID()
  const options = id => ({ id, clusterSize: 3, channel: broadcastChannel(topic), ...list })
  const source = `
    const { parentPort, workerData } = require('node:worker_threads')
    const conflux = require(workerData.conflux)
    const { broadcastChannel } = require(workerData.channels)
    const node = conflux({
      id: workerData.id, clusterSize: 3, channel: broadcastChannel(workerData.topic), methods: { append: thing => thing },
      reduce: (state, action) => action === null ? [] : [...state, action]
    })
    node.perform('append', [workerData.id]).then(() => parentPort.postMessage('done'))
    parentPort.on('message', async () => { await node.close(); parentPort.close() })
  `
  const workers = ['b', 'c'].map(id => {
    const data = {
      id,
      topic,
      conflux: path.join(__dirname, '..'),
      channels: path.join(__dirname, 'docs-channels.js')
    }
    return new Worker(source, { eval: true, workerData: data })
  })
  t.after(() => Promise.all(workers.map(worker => worker.terminate())))
  const node = openNode(t, options('a'))
  await node.perform('append', ['a'])
  await until('all three', () => node.getState().length === 3)
  // One ends in the middle of it, the other leaves.
  const [first, second] = workers
  const exit = new Promise(resolve => second.on('exit', resolve))
  second.postMessage('close')
  assert.equal(await exit, 0)
  await first.terminate()
})

// What an application's functions do.

test('join that throws: the channel is broken with its message, and joined again until it works', async t => {
  const { join } = makeHub()
  let attempts = 0
  const failing = (self, deliver) => {
    if (++attempts <= 3) throw new Error('no route to the broker')
    return join(self, deliver)
  }
  const nodes = openAll(t, 2, id => ({ join: id === 'a' ? failing : join }))
  await nodes[0].perform('append', [1])
  assert.equal(attempts, 4)
  const [broken, ...others] = nodes[0].warnings.filter(({ code }) => /CHANNEL/.test(code))
  assert.equal(broken.code, 'WARN_CONFLUX_CHANNEL_BROKEN')
  assert.equal(broken.cause, '`join` failed: no route to the broker')
  // The same cause is not reported again.
  assert.deepEqual(
    others.map(({ code }) => code),
    ['WARN_CONFLUX_CHANNEL_RESTORED']
  )
})

const nothing = () => {}
const link = { send: nothing, broadcast: nothing, close: nothing }
const hostile = {
  get message() {
    throw new Error('no message')
  }
}

const FAULTY_JOINS = {
  'returns nothing': [nothing, /it must return an object with send, broadcast, close; got undefined/],
  'returns a function': [() => nothing, /got a function/],
  'lacks functions': [() => ({ send: nothing, close: 'later' }), /an object without broadcast, close/],
  'promises nothing': [async () => null, /got null/],
  rejects: [async () => Promise.reject(new Error('denied')), /^`join` failed: denied$/],
  'throws no error': [() => assert.fail(), /failed/i],
  'throws null': [
    () => {
      throw null
    },
    /^`join` failed: null$/
  ],
  'throws what throws': [
    () => {
      throw hostile
    },
    /something without a text was thrown/
  ],
  'throws a very long text': [
    () => {
      throw new Error('\ud800'.repeat(100_000))
    },
    /^`join` failed: \ufffd{900,1000}$/
  ],
  'has a `then` that throws': [
    () => ({
      ...link,
      get then() {
        throw new Error('no then')
      }
    }),
    /no then/
  ],
  'has a `ready` that throws': [
    () => ({
      ...link,
      get ready() {
        throw new Error('not ready')
      }
    }),
    /not ready/
  ],
  'is never ready': [() => ({ ...link, ready: Promise.reject(new Error('timed out')) }), /timed out/],
  'overflows the stack': [
    function overflow() {
      return overflow() ?? overflow()
    },
    /Maximum call stack/
  ],
  'never answers': [() => new Promise(nothing), /the promise of `join` is still pending after 2000 ms/],
  'is pending for long': [
    () => ({ ...link, ready: new Promise(nothing) }),
    /the promise `ready` is still pending after 2000 ms/
  ]
}

for (const [what, [join, cause]] of Object.entries(FAULTY_JOINS)) {
  test(`join ${what}: a broken channel, and a node that closes`, async t => {
    const [node] = openAll(t, 1, () => ({ join }))
    await until('the warning', () => node.warnings.length > 0)
    const [warning] = node.warnings
    assert.equal(warning.code, 'WARN_CONFLUX_CHANNEL_BROKEN')
    assert.match(warning.cause, cause)
    assert.equal((await rejection(node.perform('append', [1], 20))).code, 'ERR_CONFLUX_TIMEOUT')
    await node.close({ timeout: 50 })
    assert.equal(node.status().state, 'closed')
  })
}

test('send that throws or rejects loses the frame and is reported once; nothing else happens', async t => {
  const { join } = makeHub()
  let sent = 0
  const faults = {
    throws: () => {
      sent++
      throw new Error('no buffer space')
    },
    rejects: async () => {
      sent++
      throw new Error('no buffer space')
    },
    'throws null': () => {
      sent++
      throw null
    },
    'returns what throws': () => {
      sent++
      return {
        get then() {
          throw new Error('no then')
        }
      }
    }
  }
  for (const [what, fault] of Object.entries(faults)) {
    sent = 0
    const faulty = (self, deliver) => ({ ...join(self, deliver), send: fault })
    const nodes = openAll(t, 3, id => ({ join: id === 'c' ? faulty : join }))
    const [a, , c] = nodes
    await until('a leader without c', () => ['a', 'b'].includes(a.status().leader))
    for (let i = 0; i < 20; i++) await a.perform('append', [i])
    await until(`c has tried to send (${what})`, () => sent > 5)
    const threw = c.warnings.filter(({ code }) => code === 'WARN_CONFLUX_CHANNEL_THREW')
    assert.equal(threw.length, 1, what)
    assert.equal(threw[0].what, 'send')
    assert.match(threw[0].message, /the function `send` of the channel threw: .*; the frame is lost$/s)
    await Promise.all(nodes.map(node => node.close({ timeout: 200 })))
  }
})

test('deliver takes bytes, copies them, and refuses everything else to its caller', async t => {
  const { join } = makeHub()
  const delivers = []
  const caught = (self, deliver) => {
    delivers.push(deliver)
    // Before `join` has returned, and bytes that are no frame.
    deliver(Buffer.from('no frame'))
    const reused = new Uint8Array(4 << 20)
    return join(self, frame => {
      reused.set(frame)
      deliver(reused.subarray(0, frame.length))
      reused.fill(0, 0, frame.length)
    })
  }
  const nodes = openAll(t, 2, () => ({ join: caught }))
  for (let i = 0; i < 50; i++) await nodes[i % 2].perform('append', [i])
  for (const [value, kind] of [
    [undefined, 'undefined'],
    [null, 'null'],
    ['text', 'a string'],
    [[1, 2], 'an array'],
    [new ArrayBuffer(8), 'an ArrayBuffer'],
    [new DataView(new ArrayBuffer(8)), 'a DataView'],
    [new Uint16Array(4), 'a Uint16Array'],
    [{ type: 'Buffer', data: [1] }, 'an object']
  ]) {
    assert.throws(() => delivers[0](value), {
      name: 'TypeError',
      code: 'ERR_CONFLUX_INVALID_ARGUMENT',
      message: `\`deliver\` takes a Uint8Array (or a Buffer), got ${kind}`
    })
  }
  delivers[0](new Uint8Array(0))
  delivers[0](Buffer.alloc(3 << 20))
  await nodes[0].perform('append', ['still there'])
  await Promise.all(nodes.map(node => node.close()))
  for (const deliver of delivers) deliver(Buffer.from('late'))
})

/** Does the work where the stack is nearly full, then one place further up, until it succeeds. Returns what it threw. */
function atTheEndOfTheStack(work) {
  const thrown = []
  let isDone = false
  const down = () => {
    try {
      down()
    } catch {
      // Here it ends.
    }
    if (isDone) return
    try {
      work()
      isDone = true
    } catch (error) {
      thrown.push(error)
    }
  }
  down()
  assert.ok(isDone)
  return thrown
}

test('deliver and report at the end of the stack throw at most a RangeError, and the node goes on', async t => {
  const { join } = makeHub()
  const thrown = []
  const deep = (self, deliver, report) => {
    const link = join(self, frame => thrown.push(...atTheEndOfTheStack(() => deliver(frame))))
    thrown.push(...atTheEndOfTheStack(() => report(new Error('broken'))))
    thrown.push(...atTheEndOfTheStack(() => report(null)))
    return link
  }
  const nodes = openAll(t, 2, () => ({ join: deep }))
  for (let i = 0; i < 6; i++) await nodes[i % 2].perform('append', [i])
  assert.ok(thrown.length > 0, 'nothing was cut off')
  for (const error of thrown) assert.ok(error instanceof RangeError, `${error}`)
  await nodes[0].sync()
  assert.deepEqual(nodes[0].getState(), [0, 1, 2, 3, 4, 5])
})

test('a channel that delivers inside `send` works', async t => {
  const members = new Map()
  const join = (self, deliver) => {
    members.set(self, deliver)
    return {
      send: (to, frame) => members.get(to)?.(frame),
      broadcast: frame => members.forEach((hear, to) => to !== self && hear(frame)),
      close: () => members.delete(self)
    }
  }
  const nodes = openAll(t, 3, () => ({ join }))
  for (let i = 0; i < 100; i++) await nodes[i % 3].perform('append', [i])
  await until('all have all', () => nodes.every(node => node.getState().length === 100))
})

test('a frame belongs to the channel: its bytes may be overwritten, or transferred to another thread', async t => {
  const { join } = makeHub()
  const transferring = (self, deliver) => {
    const inner = join(self, deliver)
    const taken = frame => {
      const { buffer } = structuredClone(frame, { transfer: [frame.buffer] })
      assert.equal(frame.length, 0)
      return Buffer.from(buffer)
    }
    return {
      ...inner,
      send: (to, frame) => inner.send(to, taken(frame)),
      broadcast: frame => inner.broadcast(taken(frame))
    }
  }
  const nodes = openAll(t, 3, () => ({ join: transferring }))
  for (let i = 0; i < 20; i++) await nodes[i % 3].perform('append', [i])
  assert.deepEqual(nodes.flatMap(codes), [])
})

test('report: broken with a cause, restored, and ignored from a former link', async t => {
  const { join } = makeHub()
  const reports = []
  const reporting = (self, deliver, report) => {
    reports.push(report)
    return join(self, deliver)
  }
  const [node] = openAll(t, 1, () => ({ join: reporting }))
  await node.ready()
  const [report] = reports
  report(new Error('the cable is out'))
  report(new Error('the cable is out'))
  await until('the warning', () => node.warnings.length === 1)
  report('still no link')
  await until('the second warning', () => node.warnings.length === 2)
  report(null)
  await until('the end of it', () => node.warnings.length === 3)
  assert.deepEqual(
    node.warnings.map(({ code, cause }) => [code, cause]),
    [
      ['WARN_CONFLUX_CHANNEL_BROKEN', 'the cable is out'],
      ['WARN_CONFLUX_CHANNEL_STILL_BROKEN', 'still no link'],
      ['WARN_CONFLUX_CHANNEL_RESTORED', undefined]
    ]
  )
  await node.close()
  report('late')
})

test('a channel that is broken when join returns counts as broken until it says otherwise', async t => {
  const { join } = makeHub()
  let restore
  const broken = (self, deliver, report) => {
    report('not connected')
    restore = () => report(null)
    return join(self, deliver)
  }
  const [node] = openAll(t, 1, () => ({ join: broken }))
  await until('the warning', () => node.warnings.length === 1)
  assert.equal(node.warnings[0].cause, 'not connected')
  assert.equal((await rejection(node.perform('append', [1], 300))).code, 'ERR_CONFLUX_TIMEOUT')
  restore()
  await node.perform('append', [2])
})

test('frames wait until the channel is ready, and a `ready` that is rejected closes it and joins again', async t => {
  const { join, members } = makeHub()
  const events = []
  let attempts = 0
  const slow = (self, deliver) => {
    const inner = join(self, deliver)
    const isFirst = ++attempts === 1
    return {
      send: (...args) => events.push('send') && inner.send(...args),
      broadcast: (...args) => events.push('broadcast') && inner.broadcast(...args),
      close: () => events.push('close') && inner.close(),
      ready: new Promise((resolve, reject) => {
        setTimeout(() => {
          events.push(isFirst ? 'failed' : 'ready')
          if (isFirst) reject(new Error('handshake failed'))
          else resolve()
        }, 200)
      })
    }
  }
  const nodes = openAll(t, 2, id => ({ join: id === 'a' ? slow : join }))
  await nodes[0].perform('append', [1])
  assert.deepEqual(events.slice(0, 3), ['failed', 'close', 'ready'])
  assert.ok(!events.slice(0, 3).includes('send'))
  assert.equal(members.size, 2)
  assert.match(nodes[0].warnings[0].cause, /handshake failed/)
})

test('a node that becomes a new member closes the former link, then joins under another name', async t => {
  const { join } = makeHub()
  const events = []
  const delivers = []
  const logged = (self, deliver, report) => {
    events.push(['join', self])
    delivers.push([deliver, report])
    const inner = join(self, deliver)
    return {
      ...inner,
      close: async () => {
        events.push(['close', self])
        await new Promise(resolve => setTimeout(resolve, 100))
        inner.close()
        events.push(['closed', self])
      }
    }
  }
  const nodes = openAll(t, 3, id => ({ join: id === 'c' ? logged : join }))
  const { leader } = await elected(nodes)
  await leader.remove('c')
  await until('c is a member again', async () => {
    const { incarnation, caughtUp } = nodes[2].status()
    return caughtUp && incarnation !== events[0][1]
  })
  await nodes[2].perform('append', ['again'])
  const [[, former]] = events
  const next = nodes[2].status().incarnation
  assert.deepEqual(events, [
    ['join', former],
    ['close', former],
    ['closed', former],
    ['join', next]
  ])
  // What the former link still says has no effect.
  const [[deliver, report]] = delivers
  deliver(Buffer.from('late'))
  report('late')
  await nodes[2].perform('append', ['more'])
  assert.ok(!codes(nodes[2]).includes('WARN_CONFLUX_CHANNEL_BROKEN'))
})

test('close sends what waits, and waits for the promise of the channel, but not for long', async t => {
  const { join } = makeHub()
  const times = {}
  for (const [what, ms] of Object.entries({ quick: 100, hanging: 1e9 })) {
    let hasClosed = false
    const slow = (self, deliver) => ({
      ...join(self, deliver),
      close: () =>
        new Promise(resolve =>
          setTimeout(() => resolve((hasClosed = true)), Math.min(ms, 2147483647)).unref()
        )
    })
    const [node] = openAll(t, 1, () => ({ join: slow, channelName: what }))
    await node.ready()
    const start = Date.now()
    await node.close()
    times[what] = Date.now() - start
    assert.equal(hasClosed, what === 'quick')
  }
  assert.ok(times.quick >= 99)
  assert.ok(times.hanging >= 490)
})

test('a channel whose close throws, or rejects afterwards, is left all the same, and nothing is emitted after close', async t => {
  const closes = {
    throws: () => {
      throw new Error('not open')
    },
    rejects: async () => {
      throw new Error('not open')
    },
    'rejects later': () => new Promise((resolve, reject) => setTimeout(reject, 700, new Error('not open')))
  }
  for (const [what, close] of Object.entries(closes)) {
    const { join } = makeHub()
    const failing = (self, deliver) => ({ ...join(self, deliver), close })
    const [node] = openAll(t, 1, () => ({ join: failing, channelName: what }))
    await node.ready()
    await node.close()
    await new Promise(resolve => setTimeout(resolve, 300))
    assert.deepEqual(node.warnings, [], what)
  }
})

test('a node that is closed while its channel is still joining closes it afterwards', async t => {
  const { join, members } = makeHub()
  let finish
  const late = (self, deliver) => new Promise(resolve => (finish = () => resolve(join(self, deliver))))
  const [node] = openAll(t, 1, () => ({ join: late }))
  await until('it is joining', () => finish !== undefined)
  await node.close({ timeout: 50 })
  finish()
  await until('it has been closed', () => members.size === 0)
})

test('a process ends after close, and with an open node that is unreferenced', async () => {
  const channel = `
    const { makeHub } = require(${JSON.stringify(path.join(__dirname, 'channels.js'))})
    options.channel = { name: 'custom', join: makeHub().join }
    const node = conflux(options)
  `
  for (const end of [
    'node.perform("append", [1]).then(() => node.close())',
    'node.ready().then(() => node.unref())'
  ]) {
    const { code, stderr } = await runScript(`${channel}; ${end}`)
    assert.deepEqual([code, stderr], [0, ''])
  }
})

test('a worker is terminated in the middle of `send`; the process continues', async t => {
  const source = `
    const { workerData, parentPort } = require('node:worker_threads')
    const conflux = require(workerData)
    const busy = () => { parentPort.postMessage('busy'); for (;;); }
    conflux({
      id: 'a', clusterSize: 2, methods: {}, reduce: () => 0,
      channel: { name: 'custom', join: () => ({ send: busy, broadcast: busy, close () {} }) }
    })
  `
  const worker = new Worker(source, { eval: true, workerData: path.join(__dirname, '..') })
  await new Promise(resolve => worker.once('message', resolve))
  await worker.terminate()
  const [node] = openAll(t, 1, () => ({ join: makeHub().join }))
  await node.perform('append', [1])
})
