// Lets the search work on pages that are opened from disk, where browsers start no workers: the search's script then
// runs in a hidden frame of the page. It looks for the name IFrameWorker, and waits for importScripts where it finds it.
(() => {
  if (location.protocol !== "file:") return;

  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      // Messages arrive later, as a worker's do, and copied.
      const { port1: outer, port2: inner } = new MessageChannel();
      inside.postMessage = (data) => inner.postMessage(data);
      inside.importScripts = (...urls) =>
        urls.reduce((before, next) => before.then(() => this.load(next)), Promise.resolve());
      outer.onmessage = ({ data }) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.outer = outer;
      const begun = this.load(url);
      begun.then(() => (inner.onmessage = ({ data }) => inside.dispatchEvent(new MessageEvent("message", { data }))));
      begun.catch((error) => this.dispatchEvent(new ErrorEvent("error", { error, message: error.message })));
    }

    // Runs a script in the frame; the promise is kept when it has run.
    load(url) {
      return new Promise((resolve, reject) => {
        const script = this.frame.contentDocument.createElement("script");
        script.src = new URL(url, location.href).href;
        script.onload = resolve;
        script.onerror = () => reject(new Error(`${script.src} cannot be loaded`));
        this.frame.contentDocument.body.append(script);
      });
    }

    postMessage(data) {
      this.outer.postMessage(data);
    }

    terminate() {
      this.frame.remove();
    }
  }

  window.IFrameWorker = window.Worker = FrameWorker;
})();
