/** The fault: every process in turn gets a SIGTERM, closes its node, and is started again. */
'use strict'

async function strike({ cluster, random, note }) {
  const targets = random.shuffle(cluster.living)
  note({ targets: targets.length })
  for (const target of targets) {
    await target.terminate()
    if (target.exit !== 0) throw new Error(`${target.origin} ended with ${target.exit} after SIGTERM`)
    cluster.start(target.id)
    await cluster.whole()
  }
}

module.exports = { name: 'rolling', strike, endsProcesses: true }
