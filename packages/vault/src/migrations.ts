/** The folder of the product's migrations. */
export const migrationsFolder = new URL('../migrations/', import.meta.url);
