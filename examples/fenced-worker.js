// fenced-worker.js: a worker that runs on the leader, and writes to a database that refuses a former leader
//
// Needs Node 22.5 or newer, for node:sqlite. Three nodes in one process, to be run alone: node examples/fenced-worker.js.
// In production each node is a process of its own, and the database is a file or a server that all of them use.
const { once } = require('node:events')
const { setTimeout: delay } = require('node:timers/promises')
const { DatabaseSync } = require('node:sqlite')
const conflux = require('conflux')

const ROWS = 6

const database = new DatabaseSync(':memory:')
database.exec(`
  CREATE TABLE fence (token INTEGER NOT NULL);
  INSERT INTO fence VALUES (0);
  CREATE TABLE rows (number INTEGER PRIMARY KEY, writer TEXT NOT NULL, token INTEGER NOT NULL);
`)

/** Writes a row, unless a later leader has written before. */
function write(writer, token) {
  database.exec('BEGIN IMMEDIATE')
  try {
    const { changes } = database.prepare('UPDATE fence SET token = ? WHERE token <= ?').run(token, token)
    if (changes === 0) throw new Error(`a later leader has written: token ${token} is too old`)
    database.prepare('INSERT INTO rows (writer, token) VALUES (?, ?)').run(writer, token)
    database.exec('COMMIT')
  } catch (error) {
    database.exec('ROLLBACK')
    throw error
  }
}

const count = () => database.prepare('SELECT count(*) AS count FROM rows').get().count

const nodes = ['a', 'b', 'c'].map(id =>
  conflux({
    id,
    clusterSize: 3,
    channel: { name: 'memory', channelName: 'fenced-worker-example' },
    initialState: null,
    methods: {},
    reduce: state => state
  })
)

let firstToken

nodes.forEach(node => {
  const { id } = node.status()
  node.whileLeader(async ({ signal, token }) => {
    firstToken ??= token
    while (!signal.aborted && count() < ROWS) {
      write(id, token)
      console.log(`row ${count()} is written by ${id} with token ${token}`)
      // In the middle another node takes over.
      if (count() === ROWS / 2) {
        node.transferLeadership().catch(console.error)
        await once(signal, 'abort')
      }
      await delay(10)
    }
    if (count() < ROWS) return
    // Had the first leader been paused instead, it would write now.
    try {
      write('the first leader', firstToken)
      process.exitCode = 1
    } catch (error) {
      console.log(error.message)
    }
    for (const node of nodes) node.close()
  })
})
