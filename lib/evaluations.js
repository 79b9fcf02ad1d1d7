// The evaluations of a batch: their common time, `this` of their methods, the sessions, and their answers.
//
// Made by node.js; called by delivery-target.js for each delivery that asks for an evaluation.

'use strict'

const { Clock } = require('./clock')
const { now } = require('./environment')
const { UNDECIDED, skipTimer } = require('./evaluation')
const { MethodCaller } = require('./method-caller')
const { MethodContext } = require('./method-context')
const { TimerAlarm } = require('./timer-alarm')
const { advance } = require('./timer-rules')

class Evaluations {
  #replicatedState
  #clock
  #caller
  #context
  #onThrown
  #alarm
  #events
  #answers = []
  /** The texts of large actions among them. */
  #beside = []
  /** The lengths of all texts. */
  #answersLength = 0

  /**
   * @param node the public object of the node.
   * @param parts.core gives the native node.
   * @param parts.hasMethod returns whether this node has a method.
   * @param parts.hasSessions whether the option `sessions` is given.
   * @param parts.events is notified of what methods and reducers throw by mistake, and of a clock that jumps.
   */
  constructor(node, replicatedState, { core, hasMethod, hasSessions, events }) {
    this.#replicatedState = replicatedState
    this.#clock = new Clock(jump => events.clockJumped(jump))
    this.#caller = new MethodCaller(hasSessions)
    this.#context = new MethodContext(node, { core, hasMethod, caller: this.#caller })
    this.#alarm = new TimerAlarm(
      () => this.#clock.read(now()),
      at => core().timersDue(at)
    )
    this.#events = events
    this.#onThrown = (what, method, error) => events.threw(what, method, error)
  }

  /** The state contains everything that was committed, so later commits were evaluated just now. */
  caughtUp(isCaughtUp) {
    this.#clock.isLive = isCaughtUp
  }

  /** The commits that follow were evaluated at this time; 0: they do not say. `moment`: when this is read. */
  time(at, moment) {
    this.#clock.observe(at, moment)
    this.#replicatedState.at = at
  }

  /** The evaluations that follow are calls of this node; `hasEnded`: the session in which it called has ended. */
  callBy(id, session, hasEnded) {
    this.#caller.callBy(id, session, hasEnded)
  }

  /** The live sessions, as the evaluations that follow see them. */
  setSessions(list) {
    this.#caller.setSessions(list)
  }

  /** The live sessions: in a method those of the provisional state, elsewhere those that `committed` gives. */
  sessions(committed) {
    const { sessions } = this.#caller
    return this.#context.isRunning ? sessions : committed()
  }

  begin(moment) {
    this.#context.beginBatch(this.#clock.read(moment))
  }

  /** Returns the length of the answers so far. */
  evaluate(method, args) {
    const context = this.#context
    context.begin(this.#answers.length)
    const beside = this.#beside
    const count = beside.length
    const answer = this.#replicatedState.evaluate({ context, method, args }, beside, this.#onThrown)
    context.end()
    return this.#add(answer, beside.length === count ? 0 : beside[count].length)
  }

  /** The next timer is due then, and this node leads; null: there is none, or it does not lead. */
  nextTimer(due) {
    this.#alarm.set(due)
  }

  /** The same for a timer that is due. */
  evaluateTimer(name, due, method, args, rule) {
    const context = this.#context
    // An earlier evaluation has changed this timer: the core decides again.
    if (context.changes.hasChanged(name)) return this.#add(UNDECIDED)
    const { isSkipped, next } = advance(rule, due, context.at)
    if (isSkipped) return this.#add(skipTimer(next))
    context.begin(this.#answers.length, { name, due })
    const onFailed = ({ message }) => this.#events.timerFailed(name, method, due, message)
    const call = { context, method, args }
    const answer = this.#replicatedState.evaluateTimer(call, next, this.#onThrown, onFailed)
    context.end()
    return this.#add(answer)
  }

  /** The same for an action that no call made. */
  evaluateSystem(action) {
    return this.#add(this.#replicatedState.evaluateSystem(action, this.#onThrown))
  }

  #add(answer, besideLength = 0) {
    this.#answers.push(answer)
    return (this.#answersLength += answer.length + besideLength)
  }

  /** The batch is done: the answers, the texts beside them, and the time of the evaluations. */
  take() {
    const text = `[${this.#answers.join(',')}]`
    const beside = this.#beside
    this.#answers = []
    this.#beside = []
    this.#answersLength = 0
    return { text, at: this.#context.at, beside }
  }
}

module.exports = { Evaluations }
