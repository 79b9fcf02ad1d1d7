// Shows that `channelContract` of `conflux/testing` passes for channels that keep the contract, and finds each way
// to break it. The channels are a hub within the process, one that loses, repeats and reorders, a relay between processes,
// and BroadcastChannel; socket-io.test.js has that of socket.io.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { channelContract } = require('../testing')
const { joinRelay, makeHub, seeded, startRelay } = require('./channels')
const { broadcastChannel } = require('./docs-channels')

const named = name => (statement, run) => test(`${name}: ${statement}`, run)

channelContract(() => ({ join: makeHub().join, elsewhere: makeHub().join }), { test: named('a hub') })

const FAULTS = { lose: 0.3, repeat: 0.3, delay: 0.5 }
channelContract(
  () => ({ join: makeHub(FAULTS, seeded(1)).join, elsewhere: makeHub(FAULTS, seeded(2)).join }),
  { test: named('a hub with faults') }
)

channelContract(
  async () => {
    const [here, there] = [await startRelay(), await startRelay()]
    return {
      join: joinRelay(here.port),
      elsewhere: joinRelay(there.port),
      close: () => Promise.all([here.close(), there.close()])
    }
  },
  { test: named('a relay') }
)

let topics = 0
channelContract(
  () => ({
    join: broadcastChannel(`contract ${++topics}`).join,
    elsewhere: broadcastChannel(`contract ${++topics}`).join
  }),
  { test: named('BroadcastChannel') }
)

/** The statements that a channel breaks, with the messages. */
async function broken(makeVenue) {
  const runs = []
  channelContract(makeVenue, { test: (statement, run) => runs.push({ statement, run }), timeout: 300 })
  assert.equal(runs.length, 8)
  const faults = []
  for (const { statement, run } of runs) {
    await run().catch(error => faults.push({ statement, message: error.message, cause: error.cause }))
  }
  return faults
}

/** The hub, with something different about what `join` returns, or about what is delivered. */
const altered = change => () => {
  const hub = makeHub()
  return { join: (self, deliver) => change(hub, self, deliver), elsewhere: makeHub().join }
}

const FAULTY = {
  'frames are altered': [
    altered(({ join }, self, deliver) => join(self, frame => deliver(frame.map(byte => byte ^ 1)))),
    /heard a frame that was not sent to it/
  ],
  'large frames are cut': [
    altered(({ join }, self, deliver) => join(self, frame => deliver(frame.subarray(0, 65_000)))),
    /heard a frame that was not sent to it: 65000 bytes/
  ],
  'frames that arrive together become one': [
    altered(({ join }, self, deliver) => {
      const waiting = []
      return join(self, frame => {
        if (waiting.push(frame) === 1) setImmediate(() => deliver(Buffer.concat(waiting.splice(0))))
      })
    }),
    /heard a frame that was not sent to it/
  ],
  'a frame to one goes to all': [
    altered(({ join }, self, deliver) => {
      const link = join(self, deliver)
      return { ...link, send: (to, frame) => link.broadcast(frame) }
    }),
    /heard a frame that was not sent to it/
  ],
  'a sender hears its own broadcast': [
    altered(({ join }, self, deliver) => {
      const link = join(self, deliver)
      return { ...link, broadcast: frame => (link.broadcast(frame), link.send(self, frame)) }
    }),
    /node "one" heard a frame that was not sent to it: "to all"/
  ],
  'channels are not apart': [
    () => {
      const { join, members } = makeHub()
      // Under another key, as if the topic were no part of it.
      const elsewhere = (self, deliver) => {
        const link = join(`${self}'`, deliver)
        const toAll = frame => members.forEach(hear => hear !== deliver && hear(frame))
        return { ...link, send: (to, frame) => link.send(`${to}'`, frame), broadcast: toAll }
      }
      return { join, elsewhere }
    },
    /heard a frame that was not sent to it: "(here|there)"/
  ],
  'deliver is called with a string': [
    altered(({ join }, self, deliver) => join(self, frame => deliver(frame.toString('latin1')))),
    /`deliver` was called with a string instead of a Uint8Array/
  ],
  'nothing is broadcast': [
    altered(({ join }, self, deliver) => ({ ...join(self, deliver), broadcast() {} })),
    /a frame to all arrive.*: not within 300 ms/
  ],
  'sending to a node that has left throws': [
    altered(({ join, members }, self, deliver) => ({
      ...join(self, deliver),
      send: async to => {
        if (!members.has(to)) throw new Error(`no route to ${to}`)
      }
    })),
    /node "one": `send` threw: no route to two/
  ],
  'close throws': [
    altered(({ join }, self, deliver) => ({
      ...join(self, deliver),
      close() {
        throw new Error('not open')
      }
    })),
    /`close` threw: not open/
  ],
  'a node cannot return': [
    altered(({ join, members }, self, deliver) => {
      if (members.wasThere?.has(self))
        return { ready: new Promise(() => {}), send() {}, broadcast() {}, close() {} }
      members.wasThere = new Set([...(members.wasThere ?? []), self])
      return join(self, deliver)
    }),
    /the promise `ready` of what it returns: not within 300 ms/
  ],
  'join returns nothing': [() => ({ join() {} }), /`join` returned no function `send`/],
  'join fails': [
    () => ({
      join: async () => {
        throw new Error('connection refused')
      }
    }),
    /connection refused/
  ],
  'there is no join': [() => ({}), /the venue has no function `join`/]
}

for (const [what, [makeVenue, message]] of Object.entries(FAULTY)) {
  test(`a channel is found out: ${what}`, async () => {
    const faults = await broken(makeVenue)
    assert.ok(
      faults.some(fault => message.test(fault.message)),
      JSON.stringify(faults, null, 2)
    )
  })
}

test('wrong arguments are refused', () => {
  const code = 'ERR_CONFLUX_INVALID_ARGUMENT'
  for (const [args, message] of [
    [[], /takes a function that makes a venue, got undefined/],
    [[makeHub(), { test }], /got an object/],
    [[makeHub], /needs the function `test`/],
    [[makeHub, { tset: test, test }], /the option "tset" is unknown/]
  ]) {
    assert.throws(() => channelContract(...args), { code, message })
  }
})
