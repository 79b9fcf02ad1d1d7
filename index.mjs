// This file is the package for `import`: the same function as for `require`, over the same native addon.

import conflux from './index.js'

export default conflux
