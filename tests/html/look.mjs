// Opens each page in a real Chromium, at two widths and in both colours: node look.mjs URL FOLDER.
// Prints what it saw as JSON, and leaves a picture of each in the folder.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const [url, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const seen = [];
for (const path of ['/', '/docs']) {
  for (const width of [390, 1200]) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
      const complaints = [];
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('requestfailed', (request) => complaints.push(`failed: ${request.url()}`));
      const requests = [];
      page.on('request', (request) => requests.push(request.url()));
      const response = await page.goto(url + path, { waitUntil: 'load', timeout: 20_000 });
      if (colorScheme === 'light') {
        for (const summary of await page.$$('summary')) await summary.click();
      } else {  // the mouse was there at this width, and takes its time
        await page.$$eval('summary', (all) => all.forEach((summary) => summary.click()));
      }
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const name = `${path === '/' ? 'landing' : 'docs'}-${width}-${colorScheme}`;
      await page.screenshot({ path: `${folder}/${name}.png`, fullPage: path === '/' });
      seen.push({
        name, status: response.status(), overflow, complaints,
        requests: requests.filter((each) => !each.startsWith('data:')),
        violations: violations.map((each) => `${each.id}: ${each.nodes[0].html}`),
      });
      await page.close();
    }
  }
}
await browser.close();
console.log(JSON.stringify(seen));
