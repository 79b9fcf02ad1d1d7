// Shows that options are checked at once, and that all faults are named in one message.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const conflux = require('..')
const { list } = require('./nodes')

const right = { id: 'a', clusterSize: 3, channel: { name: 'memory' }, ...list }

/** What arrived, at the end of a fault. */
const GOT = /, got (-?\d[.\d]*|NaN|Infinity|true|false|null|undefined|an? [a-z -]+)$/

const withoutValue = fault => fault.replace(GOT, '')

function faultsOf(options) {
  let error
  try {
    conflux(options).close()
  } catch (thrown) {
    error = thrown
  }
  assert.ok(error, 'the options were accepted')
  assert.equal(error.name, 'Error')
  assert.equal(error.code, 'ERR_CONFLUX_INVALID_OPTIONS')
  assert.equal(error.message, `Invalid options: ${error.faults.join(', ')}`)
  return error.faults
}

test('every required option that is missing is named, in one message', () => {
  const all = ['id', 'clusterSize', 'channel', 'methods', 'reduce'].map(key => `"${key}" is required`)
  assert.deepEqual(faultsOf(undefined), all)
  assert.deepEqual(faultsOf({}), all)
  assert.throws(() => conflux(), /is required/)
  for (const key of ['id', 'clusterSize', 'channel', 'methods', 'reduce']) {
    assert.deepEqual(faultsOf({ ...right, [key]: undefined }), [`"${key}" is required`])
    assert.deepEqual(faultsOf({ ...right, [key]: null }), [`"${key}" is required`])
  }
})

test('options that are no object are refused', () => {
  for (const options of [null, 'options', 1, [], () => {}]) {
    assert.deepEqual(faultsOf(options).map(withoutValue), ['the options must be an object'])
  }
})

const wrong = [
  ['id', ['', 1, {}, '\ud800'], '"id" must be a non-empty string'],
  ['id', ['x'.repeat(257), 'é'.repeat(129)], '"id" must have at most 256 bytes'],
  ['clusterSize', [0, -1, 1.5, '3', NaN, Infinity, 100], '"clusterSize" must be an integer from 1 to 99'],
  ['channel', ['redis', 1, [], () => {}], '"channel" must be an object with a "name"'],
  ['channel', [{}], '"channel.name" is required'],
  [
    'channel',
    [{ name: 'pigeon' }, { name: 'constructor' }, { name: 1 }],
    '"channel.name" must be "local", "tcp", "redis", "memory", "custom" or "socket.io"'
  ],
  ['channel', [{ name: 'custom' }, { name: 'custom', join: null }], '"channel.join" is required'],
  [
    'channel',
    [
      { name: 'custom', join: 'join' },
      { name: 'custom', join: {} }
    ],
    '"channel.join" must be a function'
  ],
  [
    'channel',
    [{ name: 'custom', join() {}, joinn() {} }],
    '"channel.joinn" is unknown; did you mean "join"?'
  ],
  [
    'channel',
    [{ name: 'custom', join() {}, channelName: 1 }],
    '"channel.channelName" must be a non-empty string'
  ],
  ['channel', [{ name: 'socket.io', channel: 'x' }], '"channel.host" is required'],
  [
    'channel',
    [8000, 'localhost:8000', 'http://', 'http://localhost/path', 'http://localhost?x', 'ftp://localhost'].map(
      host => ({
        name: 'socket.io',
        host
      })
    ),
    '"channel.host" must be the address of a socket.io server, such as "http://localhost:8000", without a path'
  ],
  [
    'channel',
    [{ name: 'socket.io', host: 'http://x', channel: '' }],
    '"channel.channel" must be a non-empty string'
  ],
  ['channel', [{ name: 'socket.io', host: 'http://x', options: [] }], '"channel.options" must be an object'],
  ['channel', [{ name: 'memory', channelName: '' }], '"channel.channelName" must be a non-empty string'],
  ['methods', ['append', 1, [], () => {}], '"methods" must be an object'],
  ['methods', [{ add: undefined }], '"methods.add" must be a function, got undefined'],
  ['methods', [{ add: null }], '"methods.add" must be a function, got null'],
  ['methods', [{ add() {}, 'a b': [] }], '"methods["a b"]" must be a function, got an array'],
  ['methods', [{ add: 'add' }], '"methods.add" must be a function, got a string'],
  ['reduce', ['reduce', {}], '"reduce" must be a function'],
  [
    'electionTimeout',
    [300, '300'],
    '"electionTimeout" must be an object with "min" and "max", in milliseconds'
  ],
  ['electionTimeout', [{ min: 300 }], '"electionTimeout.max" is required'],
  ['electionTimeout', [{ min: 0.5, max: 500 }], '"electionTimeout.min" must be an integer from 1 to 3600000'],
  [
    'electionTimeout',
    [{ min: 501, max: 500 }],
    '"electionTimeout.min" must not be more than "electionTimeout.max"'
  ],
  ['heartbeatInterval', [0, '50', 1.5, -1], '"heartbeatInterval" must be an integer from 1 to 3600000'],
  ['heartbeatInterval', [300, 400], '"heartbeatInterval" must be less than "electionTimeout.min"'],
  ['maxPending', [0, 1.5, '1', Infinity], '"maxPending" must be an integer from 1 to 10000000'],
  ['storage', ['/path', true, []], '"storage" must be an object with a "path"'],
  ['storage', [{}, { path: null }], '"storage.path" is required'],
  [
    'storage',
    [{ path: '' }, { path: 1 }, { path: 'a\0b' }],
    '"storage.path" must be the path of a directory'
  ],
  ['storage', [{ path: 'x', pth: 'y' }], '"storage.pth" is unknown; did you mean "path"?'],
  ['snapshot', [1000, true, []], '"snapshot" must be an object'],
  [
    'snapshot',
    [{ entries: 0 }, { entries: '1' }],
    '"snapshot.entries" must be an integer from 1 to 1000000000'
  ],
  ['snapshot', [{ bytes: 0 }, { bytes: 1.5 }], '"snapshot.bytes" must be an integer from 1 to 1099511627776'],
  ['snapshot', [{ serialize: 1, deserialize() {} }], '"snapshot.serialize" must be a function'],
  [
    'snapshot',
    [{ serialize() {} }, { deserialize() {} }],
    '"snapshot.serialize" and "snapshot.deserialize" belong together'
  ],
  ['version', [1, {}, '\ud800'], '"version" must be a string'],
  ['version', ['é'.repeat(129)], '"version" must have at most 256 bytes'],
  ['compareStates', ['yes', 1, 0], '"compareStates" must be true or false'],
  ['checkState', ['yes', 1, 0], '"checkState" must be true or false'],
  [
    'quorumLoss',
    ['recover', 1000, true],
    '"quorumLoss" must be "wait" or an object with "recoverAfter", in milliseconds'
  ],
  ['quorumLoss', [{}], '"quorumLoss.recoverAfter" is required'],
  [
    'quorumLoss',
    [{ recoverAfter: 0 }, { recoverAfter: Infinity }],
    '"quorumLoss.recoverAfter" must be an integer from 1 to 2147483647'
  ],
  [
    'quorumLoss',
    [{ recoverAfter: 4999 }],
    '"quorumLoss.recoverAfter" must be at least 10 times "electionTimeout.max"'
  ]
]

for (const [key, values, fault] of wrong) {
  test(`wrong ${key}: ${fault}`, () => {
    for (const value of values) {
      const [found, ...others] = faultsOf({ ...right, [key]: value })
      assert.equal(withoutValue(found), withoutValue(fault), String(value))
      assert.deepEqual(others, [])
    }
  })
}

test('a fault says what arrived, and not what a string holds', () => {
  for (const [key, value, fault] of [
    ['clusterSize', '3', '"clusterSize" must be an integer from 1 to 99, got a string'],
    ['clusterSize', NaN, '"clusterSize" must be an integer from 1 to 99, got NaN'],
    ['id', '', '"id" must be a non-empty string, got an empty string'],
    ['id', '\ud800', '"id" must be a non-empty string, got a string that is not well-formed'],
    ['voter', 'no', '"voter" must be true or false, got a string'],
    [
      'methods',
      new Map(),
      '"methods" must have its functions as own properties, got an instance of Map without any'
    ],
    [
      'methods',
      new (class Shop {
        buy() {}
      })(),
      '"methods" must have its functions as own properties, got an instance of Shop without any'
    ],
    ['reduce', {}, '"reduce" must be a function, got an object'],
    ['storage', './data', '"storage" must be an object with a "path", got a string'],
    ['channel', 'redis', '"channel" must be an object with a "name", got a string'],
    [
      'channel',
      { name: 'redis', password: 1 },
      '"channel.password" must be a string or a function that returns one, got 1'
    ],
    [
      'quorumLoss',
      1000,
      '"quorumLoss" must be "wait" or an object with "recoverAfter", in milliseconds, got 1000'
    ]
  ]) {
    assert.deepEqual(faultsOf({ ...right, [key]: value }), [fault])
  }
  for (const options of ['options', [], () => {}, null]) {
    assert.match(
      faultsOf(options)[0],
      /^the options must be an object, got (a string|an array|a function|null)$/
    )
  }
})

test('the options of a channel are checked by its name', () => {
  const fault = (channel, ...faults) =>
    assert.deepEqual(faultsOf({ ...right, channel }).map(withoutValue), faults)
  fault({ name: 'memory', host: 'localhost' }, '"channel.host" is unknown')
  fault({ name: 'redis', port: 0 }, '"channel.port" must be an integer from 1 to 65535')
  fault({ name: 'redis', port: '6379' }, '"channel.port" must be an integer from 1 to 65535')
  fault({ name: 'redis', db: -1 }, '"channel.db" must be an integer from 0 to 2147483647')
  fault({ name: 'redis', host: 1 }, '"channel.host" must be a string')
  fault(
    { name: 'redis', conectionString: 'redis://x' },
    '"channel.conectionString" is unknown; did you mean "connectionString"?'
  )
  fault(
    { name: 'redis', connectionString: 'redis://x', port: 1, db: 2 },
    '"channel.port" can\'t be given beside "channel.connectionString"',
    '"channel.db" can\'t be given beside "channel.connectionString"'
  )
  fault({ name: 'redis', tls: 'yes' }, '"channel.tls" must be true or an object')
  fault({ name: 'redis', tls: { cert: 'x' } }, '"channel.tls.cert" and "channel.tls.key" belong together')
})

test('no message holds a password', () => {
  for (const connectionString of [
    'http://user:secret@host',
    'redis://user:secret@host:port',
    'redis://:secret@'
  ]) {
    const faults = faultsOf({ ...right, channel: { name: 'redis', connectionString } })
    assert.equal(faults.length, 1)
    assert.doesNotMatch(faults[0], /secret/)
  }
})

test('unknown options are named, with the near name for a typo', () => {
  assert.deepEqual(faultsOf({ ...right, clusterSzie: 3 }), [
    '"clusterSzie" is unknown; did you mean "clusterSize"?'
  ])
  assert.deepEqual(faultsOf({ ...right, ID: 'a' }), ['"ID" is unknown; did you mean "id"?'])
  assert.deepEqual(faultsOf({ ...right, colour: 'red' }), ['"colour" is unknown'])
  const withProto = JSON.parse('{"__proto__": 1}')
  assert.deepEqual(faultsOf(Object.assign(Object.create(null), right, { toString: 1 })), [
    '"toString" is unknown'
  ])
  assert.ok(faultsOf(withProto).includes('"__proto__" is unknown'))
})

test('a method that is an accessor is not asked for before it is called', async () => {
  const methods = {
    get add() {
      throw new Error('it was asked for')
    }
  }
  await conflux({ ...right, methods }).close()
})

test('faults come in the order of the documentation, all of them', () => {
  assert.deepEqual(
    faultsOf({ id: 1, channel: { name: 'redis', port: 0 }, methods: {}, reduse() {}, heartbeatInterval: 0 }),
    [
      '"id" must be a non-empty string, got 1',
      '"clusterSize" is required',
      '"channel.port" must be an integer from 1 to 65535, got 0',
      '"reduce" is required',
      '"heartbeatInterval" must be an integer from 1 to 3600000, got 0',
      '"reduse" is unknown; did you mean "reduce"?'
    ]
  )
})

test('what is right is accepted, and no default is lost beside it', async () => {
  const { check } = require('../lib/options')
  assert.deepEqual(check(right).snapshot, { entries: 10_000, bytes: 16 * 1024 * 1024 })
  const serialize = () => {}
  assert.deepEqual(check({ ...right, snapshot: { bytes: 1, serialize, deserialize: serialize } }).snapshot, {
    entries: 10_000,
    bytes: 1,
    serialize,
    deserialize: serialize
  })
  const node = conflux({
    ...right,
    snapshot: { entries: 1 },
    version: 'é'.repeat(128),
    compareStates: false,
    checkState: false,
    quorumLoss: { recoverAfter: 5000 }
  })
  assert.equal(node.status().clusterSize, 3)
  await node.close()
  await conflux({ ...right, quorumLoss: 'wait' }).close()
})

test("1.x's accelerateHeartbeats is accepted and ignored, and undefined is as good as absent", async () => {
  const node = conflux({
    ...right,
    accelerateHeartbeats: true,
    electionTimeout: undefined,
    heartbeatInterval: null
  })
  await node.close()
})
