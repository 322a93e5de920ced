// Reads Plotly while the server works on the page: half a second that would pass in waiting.
// Earlier it would keep Streamlit from asking, later the first chart would wait for it.
const plotlyUrl = new URL(new URL(import.meta.url).searchParams.get("plotly") ?? "", document.baseURI);
const ASKED = '[data-test-script-state="running"]';
const PATIENCE_MS = 5000;

/** @returns {Promise<void>} */
function asked() {
  return new Promise((resolve) => {
    const started = performance.now();
    const look = () => {
      if (document.querySelector(ASKED) || performance.now() - started > PATIENCE_MS) resolve();
      else setTimeout(look, 25);
    };
    look();
  });
}

asked().then(() => import(plotlyUrl.href)).catch(() => {}); // the charts say that it is missing
