/** Where the base service lies, in this repository or in the project that SERVICES names. */
import { pathToFileURL } from 'node:url';

const HERE = new URL('../../template/project/apps/common/static/js/services/', import.meta.url);

export const SERVICES = process.env.SERVICES ? pathToFileURL(`${process.env.SERVICES}/`) : HERE;
