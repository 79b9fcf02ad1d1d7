/** Gives `import conflux from 'conflux'` the same function, and the same native addon, as `require`. */
import conflux from './index.js'

export default conflux
