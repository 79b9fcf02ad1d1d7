/**
 * Is `npm run quickstart`: three processes elect a leader, perform, lose their leader by kill -9 and continue, over the
 * local channel. `-- --redis [url]` does it over Redis, starting a redis-server when no url is given.
 *
 * It tells what each node sees and checks every word it says: it ends with exit code 0 only if all was so.
 */
'use strict'

const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const path = require('node:path')

const { startRedisServer } = require('./redis-server')
const { Stop, build, install, main } = require('./steps')

const NODE_FILE = path.join(__dirname, 'quickstart-node.js')
const SEATS = 30
const PATIENCE_MS = 20_000

main(async () => {
  const [flag, url] = process.argv.slice(2)
  if (flag !== undefined && flag !== '--redis') throw new Stop('Usage: npm run quickstart [-- --redis [url]]')
  await install()
  await build()
  if (flag === undefined) await tellOverLocal()
  else await tellOverRedis(url)
})

async function tellOverLocal() {
  title('one Redux store in three processes')
  tell('Each node is a process of its own; they talk directly, over Unix sockets or the loopback interface.')
  await tell3({ name: 'local', channelName: `quickstart-${randomUUID()}` })
  tell('Next: README.md, and examples/')
}

async function tellOverRedis(url) {
  const redis = url ? undefined : await startRedisServer()
  try {
    title('one Redux store in three processes')
    tell(`Each node is a process of its own; they talk over Redis at ${withoutPassword(url ?? redis.url)}.`)
    await tell3({
      name: 'redis',
      connectionString: url ?? redis.url,
      channelName: `quickstart-${randomUUID()}`
    })
    tell('Next: README.md, and examples/')
  } finally {
    await redis?.kill()
  }
}

/** The story itself, the same on every channel. */
async function tell3(channel) {
  tell(`All run the same methods and the same reducer: they sell the ${SEATS} seats of one theatre.`)
  const members = ['ada', 'bob', 'cyd'].map(
    name => new Member(name, fork(NODE_FILE, [JSON.stringify({ name, channel, seats: SEATS })]))
  )
  try {
    chapter(1, 'An election: methods run on the leader, its actions reach everyone in one order')
    let leader = await electionAmong(members)
    for (const member of members) line(member, member === leader ? 'leader' : `follows ${leader.name}`)

    chapter(2, 'Every node sells: node.perform("book", [customer])')
    const customers = ['Ann', 'Ben', 'Cleo', 'Dan', 'Eve', 'Finn']
    const first = await Promise.all(customers.map((name, i) => members[i % 3].ask('book', name)))
    first.forEach(({ action }, i) => line(members[i % 3], `sold seat ${action.seat} to ${action.customer}`))
    await tellStates(members, customers.length)

    chapter(3, `The leader dies in the middle of 20 calls: kill -9`)
    const survivors = members.filter(member => member !== leader)
    const start = Date.now()
    const inFlight = Promise.all(
      Array.from({ length: 20 }, (_, i) => survivors[i % 2].ask('book', `guest ${i + 1}`))
    )
    await leader.kill()
    line(leader, red('killed: it notified no other node'))
    leader = await electionAmong(survivors)
    line(leader, `elected ${Date.now() - start} ms later, knows every action that was acknowledged`)
    const resolved = await inFlight
    check(
      resolved.every(({ action }) => action),
      'a call was not resolved'
    )
    line(undefined, 'all 20 calls have resolved: conflux sent them again to the new leader')
    await tellStates(survivors, customers.length + 20)

    chapter(4, 'Two nodes are a majority of three: the sale goes on, six customers for the last four seats')
    const last = await Promise.all(
      ['Gus', 'Hal', 'Ida', 'Jo', 'Kim', 'Lea'].map((name, i) => survivors[i % 2].ask('book', name))
    )
    last.forEach(({ action, error }, i) =>
      line(
        survivors[i % 2],
        error ? `refused by the method: ${error}` : `sold seat ${action.seat} to ${action.customer}`
      )
    )
    check(last.filter(({ error }) => error).length === 2, 'the last four seats did not go to four customers')
    await tellStates(survivors, SEATS)

    await Promise.all(survivors.map(member => member.close()))
    console.log(`\n${green('✓')} Nothing was lost, nothing was sold twice.`)
  } finally {
    await Promise.all(members.map(member => member.kill()))
  }
}

/** Waits until all of them agree on a leader among them. */
async function electionAmong(members) {
  const deadline = Date.now() + PATIENCE_MS
  while (Date.now() < deadline) {
    const known = await Promise.all(members.map(member => member.ask('leader')))
    const leader = members.find(({ name }) => known.every(({ leader }) => leader === name))
    if (leader) return leader
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  throw new Stop(`No leader was elected within ${PATIENCE_MS / 1000} seconds.`)
}

/** Waits until all have sold `count` seats, then shows and compares what getState() returns on each. */
async function tellStates(members, count) {
  const states = await Promise.all(members.map(member => member.ask('state', count)))
  for (const { seats } of states) {
    check(seats.length === count && new Set(seats).size === count, 'a seat was lost or sold twice')
  }
  check(new Set(states.map(({ digest }) => digest)).size === 1, 'the nodes have different states')
  line(undefined, 'what getState() returns on each node:')
  members.forEach((member, i) =>
    line(member, `${count} of ${SEATS} seats sold, each once    state #${states[i].digest}`)
  )
}

/** A node in a process of its own. */
class Member {
  #process
  #questions = new Map()
  #end

  constructor(name, child) {
    this.name = name
    this.#process = child
    this.#end = new Promise(resolve => child.once('exit', resolve))
    child.on('message', ({ question, answer }) => {
      this.#questions.get(question).resolve(answer)
      this.#questions.delete(question)
    })
    child.once('error', error => this.#lose(error))
    child.once('exit', () => this.#lose(new Stop(`Node ${name} ended.`)))
  }

  ask(verb, argument) {
    const question = randomUUID()
    this.#process.send({ question, verb, argument })
    return new Promise((resolve, reject) => this.#questions.set(question, { resolve, reject }))
  }

  /** Closes the node; then the process ends by itself. */
  async close() {
    await this.ask('close')
    const code = await this.#end
    check(code === 0, `node ${this.name} ended with exit code ${code} after close()`)
  }

  async kill() {
    this.#process.kill('SIGKILL')
    await this.#end
  }

  #lose(error) {
    for (const { reject } of this.#questions.values()) reject(error)
    this.#questions.clear()
  }
}

function check(holds, otherwise) {
  if (!holds) throw new Stop(`This should not happen: ${otherwise}.`)
}

function withoutPassword(url) {
  return url.replace(/\/\/[^@/]*@/, '//')
}

function title(text) {
  console.log(`\n${bold(`conflux: ${text}`)}\n`)
}

function tell(text) {
  console.log(text)
}

function chapter(number, text) {
  console.log(`\n${bold(`${number}  ${text}`)}`)
}

function line(member, text) {
  console.log(`   ${member ? member.name : '   '}  ${text}`)
}

function paint(code, text) {
  return process.stdout.isTTY && !process.env.NO_COLOR ? `\x1b[${code}m${text}\x1b[0m` : text
}

function bold(text) {
  return paint(1, text)
}

function green(text) {
  return paint(32, text)
}

function red(text) {
  return paint(31, text)
}
