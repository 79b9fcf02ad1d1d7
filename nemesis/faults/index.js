/** Lists the faults. */
'use strict'

module.exports = [
  require('./kill'),
  require('./kill-all'),
  require('./pause'),
  require('./freeze-long'),
  require('./remove'),
  require('./block'),
  require('./rolling'),
  require('./redis-restart'),
  require('./redis-freeze'),
  require('./client-kill'),
  require('./rotate-password'),
  require('./failover'),
  require('./clock'),
  require('./packets'),
  require('./full-disk'),
  require('./slow-disk'),
  require('./slow-link'),
  ...require('./cuts')
]
